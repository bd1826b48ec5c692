"""New rows are written without looking first; whatever is not as the last commit left it is noticed
all the same, and dealt with as if it had been looked for.
"""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connections

from durable_state.consumer import commit
from durable_state.errors import LeaseLost, RevisionConflict
from durable_state.materializer import prepare_batch
from durable_state.models import DeadLetter, FeedEntry, ParkedChange, Stream, TableOwner
from durable_state.protocol import Position, decode
from durable_state.transport import Batch
from tests import leases
from tests.app.models import Device, Message, Quota
from tests.tables import apply_batch
from tests.wire import change, commit_by, encode, message

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def stream(database: str) -> Stream:
    """A stream whose next new row needs no look, where the database can insist."""
    stream = Stream.objects.using(database).create(name="office", url="http://tests.invalid/s")
    for number in range(6):  # after the fifth, no sample is written any more
        apply_batch(stream, [message(f"known-{number}", "a"), _quota(number)], True)
    assert stream.left.is_clear
    assert not stream.left.met_rows
    return stream


def test_one_text_holds_it_all(stream: Stream) -> None:
    """On PostgreSQL; elsewhere nothing tells the version of a row, so that it is looked first."""
    texts = _texts_of(stream, [message("m", "a")])
    if connections[stream.using].vendor != "postgresql":
        assert len(texts) > 1
        return
    (text,) = texts
    assert text.startswith("BEGIN")
    assert text.endswith("COMMIT")


def test_a_row_that_is_there(stream: Stream) -> None:
    """It is updated. The next insert looks first, until inserts are of new rows again."""
    Message.objects.using(stream.using).create(room=stream.name, key="m", text="old", likes=3)
    apply_batch(stream, [message("m", "a")], True)
    row = Message.objects.using(stream.using).get(room=stream.name, key="m")
    assert (row.text, row.likes) == ("a", None)
    assert stream.left.met_rows

    apply_batch(stream, [message("m", "b", "update")], True)
    assert stream.left.met_rows
    apply_batch(stream, [message("n", "c")], True)
    assert not stream.left.met_rows
    newest = FeedEntry.objects.using(stream.using).filter(stream=stream).order_by("-revision")
    assert [entry.revision for entry in newest[:3]] == [9, 8, 7]


def test_another_holder_of_the_lease(stream: Stream) -> None:
    """Its fencing token is another one."""
    token = leases.acquire(stream, "elsewhere:1:a:x")
    assert token is not None
    _commit(stream, message("m", "a"), token)
    leases.give_back(stream, token)
    assert leases.acquire(stream, "elsewhere:2:b:y") == token + 1
    with pytest.raises(LeaseLost):
        _commit(stream, message("n", "a"), token)
    assert not Message.objects.using(stream.using).filter(key="n").exists()
    _commit(stream, message("n", "a"), token + 1)


def test_another_commit(stream: Stream) -> None:
    """The one that comes too late conflicts."""
    other = Stream.objects.using(stream.using).get(pk=stream.pk)
    apply_batch(other, [message("m", "a")], True)
    with pytest.raises(RevisionConflict):
        apply_batch(stream, [message("m", "b")], True)
    assert Message.objects.using(stream.using).get(key="m").text == "a"


def test_an_edited_stream(stream: Stream) -> None:
    """What was written into its row is kept, and known to the caller."""
    Stream.objects.using(stream.using).filter(pk=stream.pk).update(paused=True)
    apply_batch(stream, [message("m", "a")], True)
    assert stream.paused
    assert Message.objects.using(stream.using).filter(key="m").exists()


def test_an_object_that_was_changed_in_memory(stream: Stream) -> None:
    """It is not what was left, so it is compared with the row."""
    stream.detour = "by long-poll"
    apply_batch(stream, [message("m", "a")], True)
    assert stream.detour == ""


def test_a_table_that_is_no_longer_the_streams(stream: Stream) -> None:
    """The careful path claims it again, or says why it cannot."""
    owners = TableOwner.objects.using(stream.using).filter(model="app.quota")
    assert owners.delete()[0] == 1
    Quota.objects.using(stream.using).all().delete()
    apply_batch(stream, [_quota(9)], True)
    assert owners.get().stream_id == stream.pk


def test_a_letter_and_a_parked_change(stream: Stream) -> None:
    """Of another object's commits, which this one reads again: they are made good."""
    other = Stream.objects.using(stream.using).get(pk=stream.pk)
    apply_batch(other, [message("m", "x" * 21), commit_by("c", "ann")], True)
    assert DeadLetter.objects.using(stream.using).get().key == "m"
    assert ParkedChange.objects.using(stream.using).get().key == "c"
    stream.refresh_from_db(using=stream.using)
    apply_batch(stream, [message("m", "short"), change("author", "ann")], True)
    assert not DeadLetter.objects.using(stream.using).exists()
    assert not ParkedChange.objects.using(stream.using).exists()


def test_a_key_that_another_stream_has(stream: Stream) -> None:
    """Only the unique constraint knows of it, and refuses the row; then it waits to be shown."""
    other = Stream.objects.using(stream.using).create(name="other", url="http://tests.invalid/o")
    Device.objects.using(stream.using).create(serial="d", stream=other, charge=1)
    for serial in ("c", "d"):
        apply_batch(stream, [change("device", serial, charge=2)], True)
    assert Device.objects.using(stream.using).get(serial="c").stream_id == stream.pk
    assert Device.objects.using(stream.using).get(serial="d").charge == 1
    assert ParkedChange.objects.using(stream.using).get().key == "d"
    apply_batch(stream, [change("device", "e", charge=2)], True)
    assert Device.objects.using(stream.using).filter(serial="e").exists()


def test_a_refused_row(stream: Stream) -> None:
    """Neither a conversion nor the database's refusal leaves anything behind but the letter."""
    apply_batch(stream, [message("good", "a"), message("m", "x" * 21)], True)
    assert DeadLetter.objects.using(stream.using).get().key == "m"
    assert Message.objects.using(stream.using).filter(key="good").exists()


def _quota(number: int) -> dict[str, Any]:
    return change("quota", f"q{number}", inUse=number)


def _commit(stream: Stream, item: Any, token: int) -> None:
    after = stream.ordinal
    prepared = prepare_batch(stream, [decode(encode(item))], after)
    position = Position(f"o{after + 1}", 0, after + 1)
    commit(stream, prepared, Batch([], position, True), token=token)


def _texts_of(stream: Stream, items: list[Any]) -> list[str]:
    """What is sent to the database for a commit of these items."""
    texts: list[str] = []

    def note(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        texts.append(sql)
        return execute(sql, params, many, context)

    with connections[stream.using].execute_wrapper(note):
        apply_batch(stream, items, True)
    # The test's own look for a replay is none of them.
    return [sql for sql in texts if "durable_state_replay" not in sql]
