"""A reset folds the stream again beside the rows that are shown."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.management import call_command

from durable_state import operations
from durable_state.consumer import commit
from durable_state.consumer.replay import advance, hand_over
from durable_state.errors import OperationRefused, RevisionConflict, StreamHalted
from durable_state.feed.log import entries
from durable_state.materializer import prepare_batch
from durable_state.models import (
    DeadLetter,
    FeedEntry,
    Generation,
    Intent,
    Replay,
    StagedChange,
    Status,
    Stream,
)
from durable_state.protocol import Position, decode
from durable_state.testing import apply
from durable_state.transport import Batch
from tests.app.models import Message
from tests.wire import START, encode, message

pytestmark = pytest.mark.django_db


@pytest.mark.django_db(transaction=True, databases="__all__")
def test_the_rows_stay_until_the_tail_and_keep_their_primary_keys(database: str) -> None:
    """Rows that the replayed stream does not hold go by the switch; the others are updated in
    place.
    """
    apply("chat", [message("1", "one"), message("2", "two")], using=database)
    rows = Message.objects.using(database)
    kept = rows.get(key="1").pk
    stream = Stream.objects.using(database).get()
    operations.reset(stream, actor="ada", entity_type="message")
    assert (stream.offset, stream.ordinal, stream.status, stream.revision) == (
        "test-2",
        2,
        "live",
        1,
    )
    replay = stream.replay
    assert (replay.offset, replay.skip, replay.ordinal, replay.status) == (
        "-1",
        0,
        0,
        "catching-up",
    )
    apply("chat", [message("1", "eins")], using=database, up_to_date=False)
    assert list(rows.order_by("key").values_list("key", "text")) == [("1", "one"), ("2", "two")]
    apply("chat", [message("3", "three")], using=database)
    assert list(rows.order_by("key").values_list("key", "text")) == [("1", "eins"), ("3", "three")]
    assert rows.get(key="1").pk == kept
    stream = Stream.objects.using(database).get()
    assert (stream.rebuild, stream.applied_count, stream.ordinal, stream.revision) == (
        None,
        2,
        2,
        2,
    )
    assert not Replay.objects.using(database).exists()


def test_a_worker_that_holds_the_lease_notices_the_hand_over() -> None:
    """Its commit fails, whatever it had read; until then it continues."""
    apply("chat", [message("1", "one")])
    held = Stream.objects.get()
    operations.reset(Stream.objects.get(), actor="ada")
    commit(
        held,
        prepare_batch(held, [decode(b"{}")], 1),
        Batch([], Position("x", 0, 2), True),
        token=None,
    )
    apply("chat", [message("1", "one"), b"{}"])
    with pytest.raises(RevisionConflict):
        commit(
            held,
            prepare_batch(held, [decode(b"{}")], 2),
            Batch([], Position("x", 0, 3), True),
            token=None,
        )
    assert Stream.objects.get().ordinal == 2


def test_the_feed_has_no_hole() -> None:
    """The hand-over is a revision like any other, and lists the newest txids, which the live
    reader may not have met.
    """
    apply("chat", [message("1", "one")])
    operations.reset(Stream.objects.get(), actor="ada")
    apply("chat", [message("1", "one")])
    late = message("1", "two")
    late["headers"]["txid"] = "t7"
    operations.reset(Stream.objects.get(), actor="ada")
    apply("chat", [message("1", "one")], up_to_date=False)
    apply("chat", [late])
    assert list(FeedEntry.objects.values_list("revision", flat=True)) == [1, 2, 3]
    assert entries(Stream.objects.get().pk, 0, "default")[-1].txids == [("t7", "message", "1")]


def test_what_was_open_is_dropped_with_the_hand_over() -> None:
    """Staged changes and letters of an unfinished snapshot go,
    and so do letters that were met again.
    """
    apply("chat", [message("1", "one"), b"5", message("2", "x" * 50)])
    apply(
        "chat",
        [START, message("3", "three"), message("4", "x" * 50)],
    )
    assert StagedChange.objects.count() == 1
    assert DeadLetter.objects.exclude(generation=0).count() == 1
    stream = Stream.objects.get()
    operations.reset(stream, actor="ada")
    assert stream.snapshot is not None
    apply("chat", [b"5", message("2", "x" * 50), message("3", "three")], up_to_date=False)
    shown = DeadLetter.objects.filter(generation=0)
    assert list(shown.values_list("ordinal", flat=True)) == [3, 2]
    operations.reset(stream, actor="ada")  # the first is dropped
    assert Generation.objects.count() == 2
    assert set(DeadLetter.objects.values_list("generation", flat=True)) == {0, stream.snapshot_id}
    apply("chat", [b"5", b"6", message("4", "four")])
    assert list(DeadLetter.objects.values_list("generation", "ordinal")) == [(0, 2), (0, 1)]
    assert not Generation.objects.exists()
    assert not StagedChange.objects.exists()
    stream = Stream.objects.get()
    assert (stream.snapshot, stream.ordinal, stream.applied_count, stream.dead_letter_count) == (
        None,
        3,
        1,
        2,
    )
    assert list(Message.objects.values_list("key", flat=True)) == ["4"]


def test_an_unregistered_type_is_refused_by_name() -> None:
    """The registered ones are listed, and nothing is done."""
    apply("chat", [message("1", "one")])
    stream = Stream.objects.get()
    with pytest.raises(OperationRefused, match=r"author.*message"):
        operations.reset(stream, actor="ada", entity_type="massage")
    assert Stream.objects.get().ordinal == 1
    assert not Intent.objects.exists()


def test_errors_are_forgotten_by_the_hand_over_and_a_pause_is_not() -> None:
    """A person's pause ends only when a person resumes."""
    apply("chat", [message("1", "one")])
    Stream.objects.update(paused=True, status=Status.NEEDS_RESET, last_error="410", failures=3)
    stream = Stream.objects.get()
    operations.reset(stream, actor="ada")
    assert (stream.paused, operations.report(stream).status) == (True, "paused")
    operations.resume(stream, actor="bob")
    stream = Stream.objects.get()
    assert (stream.paused, stream.status, operations.report(stream).status) == (
        False,
        "needs-reset",
        "rebuilding",
    )
    apply("chat", [message("1", "one")])
    stream = Stream.objects.get()
    assert (stream.status, stream.last_error, stream.failures) == ("live", "", 0)
    assert list(Intent.objects.order_by("pk").values_list("actor", flat=True)) == ["ada", "bob"]


def test_a_replay_that_fails_is_told_and_resumed() -> None:
    """The stream's report shows what stops the replay, though the stream itself is fine."""
    apply("chat", [message("1", "one")])
    stream = Stream.objects.get()
    operations.reset(stream, actor="ada")
    assert (operations.report(stream).status, operations.report(stream).replayed) == (
        "rebuilding",
        0,
    )
    Replay.objects.update(status=Status.HALTED, last_error="It broke.", action="Mend it.")
    report = operations.report(stream)
    assert (report.status, report.why, report.action, report.stuck) == (
        "halted",
        "It broke.",
        "Mend it.",
        True,
    )
    operations.resume(stream, actor="ada")
    assert (Replay.objects.get().status, operations.report(stream).status) == (
        "catching-up",
        "rebuilding",
    )


def test_a_reset_is_cancelled() -> None:
    """The rows, the position and the letters stay; staged rows go."""
    apply("chat", [message("1", "one"), b"5"])
    stream = Stream.objects.get()
    operations.reset(stream, actor="ada")
    apply("chat", [message("1", "eins"), b"5", message("2", "x" * 50)], up_to_date=False)
    call_command("durable_state", "reset", "chat", "--cancel")
    assert not Replay.objects.exists()
    assert not StagedChange.objects.exists()
    assert list(DeadLetter.objects.values_list("generation", "ordinal")) == [(0, 2)]
    apply("chat", [message("2", "two")])
    assert list(Message.objects.order_by("key").values_list("key", "text")) == [
        ("1", "one"),
        ("2", "two"),
    ]
    with pytest.raises(OperationRefused, match="No reset"):
        operations.cancel_reset(stream, actor="ada")
    assert list(Intent.objects.order_by("pk").values_list("verb", flat=True)) == [
        "reset",
        "cancel reset",
    ]


def test_letters_of_a_replay_with_and_without_an_entity_count_together(settings: Any) -> None:
    """Letters beyond DEAD_LETTER_LIMIT halt the replay, not the stream; those of the stream
    count separately.
    """
    settings.DURABLE_STATE = {"DEAD_LETTER_LIMIT": 3}
    bad = [b"5", b"6", message("1", "x" * 50)]
    apply("chat", bad)
    operations.reset(Stream.objects.get(), actor="ada")
    apply("chat", bad, up_to_date=False)
    with pytest.raises(StreamHalted):
        apply("chat", [message("2", "x" * 50)])
    apply("chat", [message("2", "two")])
    assert list(DeadLetter.objects.values_list("generation", "ordinal")) == [(0, 3), (0, 2), (0, 1)]


def test_rows_never_go_back() -> None:
    """A replay that has reached, or may have reached, an older tail than the stream's reader is
    not shown.
    """
    apply("chat", [message("1", "one"), message("2", "two")])
    stream = Stream.objects.get()
    operations.reset(stream, actor="ada")
    replay = Replay.objects.get()
    advance(
        replay,
        stream,
        prepare_batch(stream, [decode(encode(message("1", "one")))], 0),
        Batch([], Position("r1", 0, 1)),
        token=None,
    )
    seen = stream.revision
    commit(
        stream,
        prepare_batch(stream, [decode(encode(message("3", "three")))], 2),
        Batch([], Position("l3", 0, 3), True),
        token=None,
    )
    assert hand_over(stream, replay, seen, token=None) is None
    assert (
        hand_over(stream, replay, stream.revision, token=None) is not None
    )  # the server has dropped its beginning
    assert list(Message.objects.values_list("key", flat=True)) == ["1"]
    assert stream.offset == "r1"
