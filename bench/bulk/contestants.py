"""The Python contestants: different ways to load a recorded stream into tables.

Each gets the stream's URL and works on the default database, which is empty or as the previous run
left it. All but Durable State read the whole response into memory, as a quick script would.
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr
from datetime import datetime
from io import StringIO
from typing import Any

import msgspec
from django.core.management import call_command
from django.db import connection, models, transaction

from bench.models import Message, Profile, Setting
from durable_state.models import Stream

__all__ = ["BULK", "CONTESTANTS"]

NAME = "bench"
BULK = 10_000
"""Events per transaction of ``bulk_create`` and ``update_or_create``."""
MODELS: dict[str, type[models.Model]] = {"message": Message, "profile": Profile, "setting": Setting}


class Event(msgspec.Struct, gc=False):
    """A message, decoded whole."""

    type: str
    key: str
    headers: dict[str, str]
    value: Any = None


def durable_state(url: str) -> None:
    """Durable State, end to end: HTTP body, position, feed entry and commit."""
    if not Stream.objects.exists():
        call_command("durable_state", "add", NAME, url, stdout=StringIO())
    with redirect_stderr(StringIO()):  # the progress
        call_command("durable_state", "sync", NAME, "--until-up-to-date", stdout=StringIO())


def update_or_create(url: str) -> None:
    """The obvious first version: the ORM, event by event, one transaction per batch."""
    for events in _batches(_read(url), BULK):
        with transaction.atomic():
            for event in events:
                rows = MODELS[event.type]._base_manager
                if event.headers["operation"] == "delete":
                    rows.filter(stream=NAME, key=event.key).delete()
                else:
                    rows.update_or_create(stream=NAME, key=event.key, defaults=_columns(event))


def bulk_create(url: str) -> None:
    """The obvious second version: each key's newest event of a batch, by ``bulk_create``."""
    for events in _batches(_read(url), BULK):
        with transaction.atomic():
            for entity_type, newest in _newest(events).items():
                rows = MODELS[entity_type]._base_manager
                gone = [event.key for event in newest if event.headers["operation"] == "delete"]
                for start in range(0, len(gone), 500):
                    rows.filter(stream=NAME, key__in=gone[start : start + 500]).delete()
                kept = [
                    _instance(event) for event in newest if event.headers["operation"] != "delete"
                ]
                named = connection.features.supports_update_conflicts_with_target
                rows.bulk_create(
                    kept,
                    update_conflicts=True,
                    unique_fields=["stream", "key"] if named else None,
                    update_fields=_names(entity_type),
                )


def floor(url: str) -> None:
    """The least work possible: decodes, folds in memory, and writes the final rows as raw SQL."""
    with transaction.atomic():
        for entity_type, newest in _newest(_read(url)).items():
            kept = [event for event in newest if event.headers["operation"] != "delete"]
            _write_raw(entity_type, [(NAME, event.key, *_raw(event)) for event in kept])


def decode(url: str) -> None:
    """Reads and decodes, and writes nothing."""
    for body in _answers(url):
        msgspec.json.decode(body)


CONTESTANTS: dict[str, Callable[[str], None]] = {
    "durable_state": durable_state,
    "bulk_create": bulk_create,
    "update_or_create": update_or_create,
    "floor": floor,
    "decode": decode,
}


def _read(url: str) -> list[Event]:
    return [
        event for body in _answers(url) for event in msgspec.json.decode(body, type=list[Event])
    ]


def _answers(url: str) -> Iterator[bytes]:
    """The response bodies up to the tail; the static server sends a single one."""
    offset, up_to_date = "-1", False
    while not up_to_date:
        with urllib.request.urlopen(f"{url}?offset={offset}") as response:
            yield response.read()
        offset, up_to_date = (
            response.headers["Stream-Next-Offset"],
            "Stream-Up-To-Date" in response.headers,
        )


def _batches(events: list[Event], size: int) -> Iterator[list[Event]]:
    for start in range(0, len(events), size):
        yield events[start : start + size]


def _newest(events: list[Event]) -> dict[str, list[Event]]:
    newest: dict[str, dict[str, Event]] = {name: {} for name in MODELS}
    for event in events:
        newest[event.type][event.key] = event
    return {name: list(of_type.values()) for name, of_type in newest.items()}


def _names(entity_type: str) -> list[str]:
    return [
        field.name
        for field in MODELS[entity_type]._meta.fields
        if field.name not in ("id", "stream", "key")
    ]


def _columns(event: Event) -> dict[str, Any]:
    value = event.value
    match event.type:
        case "message":
            moment = datetime.fromisoformat(value["sentAt"])
            return {
                "text": value["text"],
                "likes": value["likes"],
                "edited": value["isEdited"],
                "sent_at": moment,
            }
        case "profile":
            return {name: value[name] for name in ("name", "score", "about")}
        case _:
            return {"data": value}


def _instance(event: Event) -> models.Model:
    return MODELS[event.type](stream=NAME, key=event.key, **_columns(event))


def _raw(event: Event) -> list[Any]:
    columns = _columns(event)
    if event.type == "setting":
        return [json.dumps(columns["data"])]
    if event.type == "message" and connection.vendor != "postgresql":
        columns["sent_at"] = columns["sent_at"].strftime("%Y-%m-%d %H:%M:%S")
    return list(columns.values())


def _write_raw(entity_type: str, rows: list[tuple[Any, ...]]) -> None:
    table = MODELS[entity_type]._meta.db_table
    columns = ["stream", "key", *_names(entity_type)]
    names = ", ".join(connection.ops.quote_name(name) for name in columns)
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            with cursor.copy(f"COPY {table} ({names}) FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(row)
        else:
            places = ", ".join(["%s"] * len(columns))
            cursor.executemany(f"INSERT INTO {table} ({names}) VALUES ({places})", rows)
