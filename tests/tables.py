"""Applies messages to the tables, and looks at the result; for every room."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Any

from django.db import connections, transaction
from django.db import models as django_models

from durable_state.consumer import commit
from durable_state.consumer.replay import advance, begin_replay, hand_over
from durable_state.materializer import prepare_batch
from durable_state.models import DeadLetter, FeedEntry, Generation, Replay, Stream
from durable_state.protocol import Position, decode
from durable_state.transport import Batch
from tests.app import models
from tests.oracle import Entity, Row, fold
from tests.wire import END, encode

__all__ = [
    "adds_up",
    "apply_batch",
    "check",
    "fresh_stream",
    "replay",
    "rows_of",
    "settled",
    "strict",
    "tables_of",
]

_numbers = count()


@contextmanager
def fresh_stream(database: str) -> Iterator[Stream]:
    """A separate stream for one example; its rows are deleted with it."""
    name = f"s{next(_numbers)}"
    stream = Stream.objects.using(database).create(name=name, url=f"http://tests.invalid/{name}")
    try:
        yield stream
    finally:
        models.Message.objects.using(database).filter(room=name).delete()
        Stream.objects.using(database).filter(pk=stream.pk).delete()


def apply_batch(stream: Stream, items: Sequence[Any], up_to_date: bool) -> None:
    """Commits the items as one batch: to the stream's replay, if it has one."""
    replay = Replay.objects.using(stream.using).filter(stream=stream).first()
    prepared = prepare_batch(
        stream, [decode(encode(item)) for item in items], (replay or stream).ordinal
    )
    ordinal = prepared.after + prepared.count
    position = Position(f"o{ordinal}", 0, ordinal)
    if replay is None:
        commit(stream, prepared, Batch([], position, up_to_date), token=None)
        return
    advance(replay, stream, prepared, Batch([], position), token=None)
    if up_to_date:
        assert hand_over(stream, replay, stream.revision, token=None) is not None


def rows_of(stream: Stream, *, pks: bool = False) -> dict[Entity, Row]:
    """The stream's rows in all tables that many streams share, by entity."""
    database = stream.using
    found: dict[Entity, Row] = {}
    columns = [
        (
            "message",
            models.Message.objects.filter(room=stream.name),
            "key",
            ("text", "likes", "edited"),
        ),
        ("profile", models.Profile.objects.filter(stream=stream), "key", ("name", "score")),
        ("setting", models.Setting.objects.filter(stream=stream), "key", ("data",)),
        ("score", models.Score.objects.filter(stream=stream), "number", ("points", "label")),
    ]
    for entity_type, queryset, key, names in columns:
        for row in queryset.using(database):
            found[entity_type, str(getattr(row, key))] = {
                name: getattr(row, name) for name in names
            } | ({"pk": row.pk} if pks else {})
    return found


def strict(rows: Any) -> str:
    """Rows as text in which 1, 1.0 and True differ."""
    return json.dumps(
        sorted((list(entity), row) for entity, row in rows.items()),
        sort_keys=True,
        ensure_ascii=False,
    )


def settled(stream: Stream, items: list[Any]) -> list[Any]:
    """The items, plus a snapshot's end if a snapshot is open that follows a reset: until then,
    readers see the old rows.
    """
    stream.refresh_from_db()
    if stream.snapshot_id is None or stream.rebuild_id is None:
        return items
    apply_batch(stream, [END], True)
    return [*items, END]


def check(stream: Stream, items: list[Any]) -> None:
    """Rows, letters and counters equal the oracle's."""
    answer = fold(settled(stream, items))
    assert strict(rows_of(stream)) == strict(answer.rows)
    letters = DeadLetter.objects.using(stream.using).filter(stream=stream, generation=0)
    ordinals = sorted(letters.values_list("ordinal", flat=True))
    assert ordinals == sorted([*answer.letters.values(), *answer.malformed])
    staged = sum(g.changes for g in Generation.objects.using(stream.using).filter(stream=stream))
    counts = [getattr(stream, f.name) for f in Stream._meta.fields if f.name.endswith("_count")]
    assert sum(counts) + staged == stream.ordinal
    assert min(counts) >= 0
    revisions = list(
        FeedEntry.objects.using(stream.using)
        .filter(stream=stream)
        .values_list("revision", flat=True)
    )
    assert revisions == list(range(1, stream.revision + 1))


def replay(name: str, using: str) -> None:
    """Puts the stream back to its start, beside the shown rows."""
    with transaction.atomic(using=using):
        begin_replay(Stream.objects.using(using).get(name=name))


def adds_up(name: str, using: str) -> None:
    """Each message of the stream is counted once: in a counter, or in a generation that is still
    being folded.
    """
    stream = Stream.objects.using(using).get(name=name)
    counts = {
        f.name: getattr(stream, f.name) for f in Stream._meta.fields if f.name.endswith("_count")
    }
    staged = sum(each.changes for each in Generation.objects.using(using).filter(stream=stream))
    assert sum(counts.values()) + staged == stream.ordinal, (counts, staged)
    assert min(counts.values()) >= 0, counts


@contextmanager
def tables_of(using: str, *made: type[django_models.Model]) -> Iterator[None]:
    """Creates the tables of a test's own models, parents first, for as long as the block runs;
    not inside a transaction.
    """
    connection = connections[using]
    with connection.schema_editor() as editor:
        for model in made:
            editor.create_model(model)
    try:
        yield
    finally:
        with connection.schema_editor() as editor:
            for model in reversed(made):
                editor.delete_model(model)
