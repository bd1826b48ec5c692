"""What a live commit of an ordinary change costs: a few statements, which are sent together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connections

from durable_state.consumer import commit
from durable_state.errors import RevisionConflict
from durable_state.materializer import prepare_batch
from durable_state.models import DeadLetter, FeedEntry, Stream
from durable_state.protocol import Position, decode
from durable_state.transport import Batch
from tests.tables import apply_batch
from tests.wire import START, change, commit_by, delete, encode, message

pytestmark = pytest.mark.django_db(transaction=True)

CALLS = {
    "sqlite": 6,  # BEGIN; the facts; the row; the row, the position, the feed entry
    "postgresql": 2,  # two texts, the second of which ends with COMMIT
    "mysql": 4,  # two texts, between those that limit a session which is not a worker's own
}
"""How often the driver is called, apart from a COMMIT of its own, by vendor."""

ORDINARY: list[list[Any]] = [
    [message("m", "a")],
    [message("m", "b", "update")],
    [change("setting", "s", value={"b": [1, 0.5], "a": None})],
    [change("setting", "s", "update", value=None)],
    [delete("setting", "s")],
]


def test_how_often_the_database_is_called(database: str, add_stream: Callable[..., Stream]) -> None:
    """Whatever the change does, and whatever its row holds."""
    stream = add_stream(using=database)
    known = [message("known", "a"), change("setting", "known", value=1)]
    for _ in range(5):  # after which no sample of their values is written any more
        apply_batch(stream, known, True)

    for items in ORDINARY:
        stream.left = stream.left._replace(met_rows=True)  # or new rows would not be looked for
        assert _calls(stream, items) == CALLS[connections[database].vendor], items


def test_a_parent_is_named_without_reading_it_again(
    database: str, add_stream: Callable[..., Stream]
) -> None:
    """A child's entry has its parent's key, which was looked up with its row."""
    stream = add_stream(using=database)
    for _ in range(5):
        apply_batch(stream, [change("author", "ann"), commit_by("c0", "ann")], True)

    # Asks for the parent, and whether another stream's files may wait for the commit.
    assert _calls(stream, [commit_by("c1", "ann")]) <= CALLS[connections[database].vendor] + 2
    entry = FeedEntry.objects.using(database).get(stream=stream, revision=stream.revision)
    assert b'"author":"ann"' in bytes(entry.changes)


def test_an_ordinary_change_makes_a_letter_good(
    database: str, add_stream: Callable[..., Stream]
) -> None:
    """It then takes the careful path, which deletes the letter."""
    stream = add_stream(using=database)
    apply_batch(stream, [message("known", "a")], True)
    apply_batch(stream, [message("m", "x" * 21)], True)
    assert DeadLetter.objects.using(database).get().key == "m"
    apply_batch(stream, [message("m", "short")], True)
    assert not DeadLetter.objects.using(database).exists()


def test_a_letter_is_met_after_commits_that_met_none(
    database: str, add_stream: Callable[..., Stream]
) -> None:
    """Although a stream that had no letter at its revision is not asked for letters again."""
    stream = add_stream(using=database)
    apply_batch(stream, [message("known", "a")], True)
    apply_batch(stream, [message("known", "b", "update")], True)
    assert stream.left.is_clear
    apply_batch(stream, [message("m", "x" * 21)], True)
    apply_batch(stream, [message("known", "c", "update")], True)
    assert not stream.left.is_clear
    apply_batch(stream, [message("m", "short")], True)
    assert not DeadLetter.objects.using(database).exists()
    apply_batch(stream, [message("known", "d", "update")], True)
    assert stream.left.is_clear


@pytest.mark.parametrize("item", [message("m", "b"), START])
def test_a_batch_that_does_not_follow_is_not_committed(
    database: str, add_stream: Callable[..., Stream], item: dict[str, Any]
) -> None:
    """On either path: messages in between would be lost, or others applied twice."""
    stream = add_stream(using=database)
    apply_batch(stream, [message("known", "a")], True)
    for after in (0, 2):
        prepared = prepare_batch(stream, [decode(encode(item))], after)
        batch = Batch([], Position("o", 0, after + 1), True)
        with pytest.raises(RevisionConflict, match="does not follow"):
            commit(stream, prepared, batch, token=None)
    assert Stream.objects.using(database).get().ordinal == 1


def _calls(stream: Stream, items: list[Any]) -> int:
    """How often the driver is called for a commit of these items."""
    calls = []

    def note(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        calls.append(sql)
        return execute(sql, params, many, context)

    with connections[stream.using].execute_wrapper(note):
        apply_batch(stream, items, True)
    # The test's own query for a replay does not count.
    return len([sql for sql in calls if "durable_state_replay" not in sql])
