"""The rows as they stand in the tables, and a clean slate for each example."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Any

from durable_state.consumer.commit import commit
from durable_state.models import Stream
from durable_state.protocol import Position, decode
from tests.app import models
from tests.oracle import Entity, Row, encode

__all__ = ["apply_batch", "fresh_stream", "rows_of"]

_numbers = count()


@contextmanager
def fresh_stream(database: str) -> Iterator[Stream]:
    """A stream of its own for one example; its rows go with it."""
    name = f"s{next(_numbers)}"
    stream = Stream.objects.using(database).create(name=name, url=f"http://tests.invalid/{name}")
    try:
        yield stream
    finally:
        models.Message.objects.using(database).filter(room=name).delete()
        Stream.objects.using(database).filter(pk=stream.pk).delete()


def apply_batch(stream: Stream, items: Sequence[Any], up_to_date: bool) -> None:
    """Commits the items as one batch."""
    ordinal = stream.ordinal + len(items)
    commit(
        stream,
        [decode(encode(item)) for item in items],
        Position(f"o{ordinal}", 0, ordinal),
        token=None,
        up_to_date=up_to_date,
    )


def rows_of(stream: Stream, *, pks: bool = False) -> dict[Entity, Row]:
    """The stream's rows in all tables that many streams share, by entity."""
    database = stream._state.db
    found: dict[Entity, Row] = {}
    columns = [
        ("message", models.Message.objects.filter(room=stream.name), "key", ("text", "likes", "edited")),
        ("profile", models.Profile.objects.filter(stream=stream), "key", ("name", "score")),
        ("setting", models.Setting.objects.filter(stream=stream), "key", ("data",)),
        ("score", models.Score.objects.filter(stream=stream), "number", ("points", "label")),
    ]
    for entity_type, queryset, key, names in columns:
        for row in queryset.using(database):
            found[entity_type, str(getattr(row, key))] = {name: getattr(row, name) for name in names} | (
                {"pk": row.pk} if pks else {}
            )
    return found
