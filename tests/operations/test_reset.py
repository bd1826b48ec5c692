"""A reset folds the stream again beside the rows that are shown."""

from __future__ import annotations

from typing import Any

import pytest

from durable_state import operations
from durable_state.consumer.commit import commit
from durable_state.errors import OperationRefused, RevisionConflict
from durable_state.models import DeadLetter, FeedEntry, Generation, Intent, StagedChange, Status, Stream
from durable_state.protocol import Position, decode
from durable_state.testing import apply
from tests.app.models import Message

pytestmark = pytest.mark.django_db


def change(key: str, text: str) -> dict[str, Any]:
    """An insert of a message."""
    return {"type": "message", "key": key, "value": {"text": text}, "headers": {"operation": "insert"}}


@pytest.mark.django_db(transaction=True, databases="__all__")
def test_the_rows_stay_until_the_tail_and_keep_their_primary_keys(database: str) -> None:
    """What the replayed stream does not hold goes by the switch; what it holds is updated in place."""
    apply("chat", [change("1", "one"), change("2", "two")], using=database)
    rows = Message.objects.using(database)
    kept = rows.get(key="1").pk
    stream = Stream.objects.using(database).get()
    operations.reset(stream, actor="ada", entity_type="message")
    assert (stream.offset, stream.skip, stream.ordinal, stream.applied_count) == ("-1", 0, 0, 0)
    assert (stream.status, stream.revision, stream.rebuild.purpose) == ("catching-up", 2, "replay")  # type: ignore[union-attr]
    apply("chat", [change("1", "eins")], using=database, up_to_date=False)
    assert list(rows.order_by("key").values_list("key", "text")) == [("1", "one"), ("2", "two")]
    apply("chat", [change("3", "three")], using=database)
    assert list(rows.order_by("key").values_list("key", "text")) == [("1", "eins"), ("3", "three")]
    assert rows.get(key="1").pk == kept
    stream.refresh_from_db()
    assert (stream.rebuild, stream.applied_count, stream.ordinal) == (None, 2, 2)


def test_a_worker_that_holds_the_lease_notices() -> None:
    """Its commit does not go through, whatever it had read."""
    apply("chat", [change("1", "one")])
    held = Stream.objects.get()
    operations.reset(Stream.objects.get(), actor="ada")
    with pytest.raises(RevisionConflict):
        commit(held, [decode(b"{}")], Position("x", 0, 2), token=None, up_to_date=True)
    assert Stream.objects.get().ordinal == 0


def test_the_feed_has_no_hole() -> None:
    """A reset is a revision like any other."""
    apply("chat", [change("1", "one")])
    operations.reset(Stream.objects.get(), actor="ada")
    apply("chat", [change("1", "one")])
    assert list(FeedEntry.objects.values_list("revision", flat=True)) == [1, 2, 3]


def test_what_was_open_is_dropped() -> None:
    """Staged changes and letters of an unfinished snapshot go, and so do letters that will be met again."""
    apply("chat", [change("1", "one"), b"5", change("2", "x" * 50)])
    apply("chat", [{"headers": {"control": "snapshot-start"}}, change("3", "three"), change("4", "x" * 50)])
    assert StagedChange.objects.count() == 1
    assert DeadLetter.objects.exclude(generation=0).count() == 1
    stream = Stream.objects.get()
    operations.reset(stream, actor="ada")
    assert stream.snapshot is None
    assert Generation.objects.get() == stream.rebuild
    assert not StagedChange.objects.exists()
    assert list(DeadLetter.objects.values_list("key", flat=True)) == ["2"]


def test_an_unregistered_type_is_refused_by_name() -> None:
    """The registered ones are listed, and nothing was done."""
    apply("chat", [change("1", "one")])
    stream = Stream.objects.get()
    with pytest.raises(OperationRefused, match=r"author.*message"):
        operations.reset(stream, actor="ada", entity_type="massage")
    assert Stream.objects.get().ordinal == 1
    assert not Intent.objects.exists()


def test_errors_are_forgotten_and_a_pause_is_not() -> None:
    """A person's pause ends by a person's resume."""
    apply("chat", [change("1", "one")])
    Stream.objects.update(paused=True, status=Status.NEEDS_RESET, last_error="410", failures=3)
    stream = Stream.objects.get()
    operations.reset(stream, actor="ada")
    assert (stream.paused, stream.status, stream.last_error, stream.failures) == (True, "catching-up", "", 0)
    assert Intent.objects.get().actor == "ada"
