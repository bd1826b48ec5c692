"""A reset of one type: it is folded again from the start, and switched; nothing else is touched."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connections

from durable_state import operations
from durable_state.consumer import type_replay
from durable_state.consumer.run import sync
from durable_state.errors import OperationRefused
from durable_state.models import DeadLetter, Replay, Status, Stream, TypeState
from durable_state.registry import registry
from tests.app.models import File, Message, Score
from tests.app.state_mappings import ScoreMapping
from tests.servers.process import StreamServer
from tests.tables import check
from tests.wire import control, insert

from .support.consuming import consuming, is_live, replay_of, wait_until
from .support.remote import RemoteStream, random_items

pytestmark = pytest.mark.django_db(transaction=True)

Add = Callable[..., Stream]


def score(key: str, points: Any) -> Any:
    """An insert of a score."""
    return insert("score", key, {"points": points})


def said(key: str, text: str) -> Any:
    """An insert of a message."""
    return insert("message", key, {"text": text})


def points() -> dict[int, int]:
    """The shown scores."""
    return dict(Score.objects.values_list("number", "points"))


def counted(stream: Stream) -> int:
    """The sum of the counters."""
    stream.refresh_from_db()
    return (
        operations.report(stream).account.others
        + stream.applied_count
        + (stream.parked_count + stream.dead_letter_count)
    )


def test_the_other_types_are_not_touched(reference_server: StreamServer, add_stream: Add) -> None:
    """Even if those are wrong; rows, letters and counters of the type are the fold's."""
    remote = RemoteStream(reference_server.stream())
    remote.append([said("a", "x"), score("1", 5), score("2", "none"), 5, score("3", 7)])
    registry.remove(ScoreMapping)
    stream = add_stream(remote.url)
    sync(stream, until_up_to_date=True)
    registry.add("score", ScoreMapping)
    assert (stream.unregistered_count, stream.applied_count) == (3, 1)
    Message.objects.update(text="changed by hand")
    before = Stream.objects.values("offset", "skip", "ordinal", "checkpoint").get()

    operations.reset(stream, actor="ada", entity_type="score")
    sync(stream, until_up_to_date=True)
    assert set(Score.objects.values_list("number", flat=True)) == {1, 3}
    assert Message.objects.get().text == "changed by hand"
    assert Stream.objects.values("offset", "skip", "ordinal", "checkpoint").get() == before
    assert not Replay.objects.exists()
    assert DeadLetter.objects.filter(type="score").count() == 1
    assert DeadLetter.objects.count() == 2
    assert (stream.unregistered_count, stream.applied_count, stream.dead_letter_count) == (0, 3, 2)
    assert counted(stream) == stream.ordinal == 5
    assert operations.report(stream).status == "up-to-date"
    remote.append([score("4", 1)])
    sync(stream, until_up_to_date=True)
    assert Score.objects.count() == 3


@pytest.mark.parametrize("seed", range(2))
def test_it_ends_where_the_stream_is_however_busy_that_is(
    file_or_server: str,
    reference_server: StreamServer,
    add_stream: Add,
    settings: Any,
    seed: int,
) -> None:
    """Live commits continue meanwhile; afterwards every table equals the fold."""
    settings.DURABLE_STATE = {"LEASE_SECONDS": 1, "BATCH_ROWS": 7}
    remote = RemoteStream(reference_server.stream())
    calm = [each for each in random_items(seed, 300) if "control" not in str(each)]
    remote.append(calm[:120])
    stream, ended = add_stream(remote.url, using=file_or_server), threading.Event()

    def write() -> None:
        for start in range(120, len(calm), 2):
            remote.append(calm[start : start + 2])
            if ended.wait(0.01):
                break

    with consuming(stream):
        wait_until(lambda: is_live(stream))
        Message.objects.using(file_or_server).all().delete()
        writing = threading.Thread(target=write)
        writing.start()
        operations.reset(stream, actor="ada", entity_type="message")
        wait_until(lambda: replay_of(stream) is None, 30)
        writing.join()
        streams = Stream.objects.using(file_or_server)
        wait_until(lambda: streams.get().ordinal == len(remote.items))
    ended.set()
    connections.close_all()
    check(stream, remote.items)
    assert counted(stream) == stream.ordinal


def test_a_stream_that_has_halted_stays_where_it_is(
    reference_server: StreamServer, add_stream: Add
) -> None:
    """The rows reach the stream's own position, however much more the server already holds."""
    remote = RemoteStream(reference_server.stream())
    remote.append([score(str(n), 1) for n in range(1, 6)])
    stream = add_stream(remote.url)
    sync(stream, until_up_to_date=True)
    Stream.objects.update(status=Status.HALTED, last_error="boom", action="mend it")
    remote.append([score("6", 1), score("1", 5)])
    Score.objects.all().delete()

    operations.reset(stream, actor="ada", entity_type="score")
    with pytest.raises(OperationRefused, match="boom"):
        sync(stream)
    assert not Replay.objects.exists()
    assert points() == dict.fromkeys(range(1, 6), 1)
    operations.resume(stream, actor="ada")
    sync(stream, until_up_to_date=True)
    assert points() == {1: 5, 2: 1, 3: 1, 4: 1, 5: 1, 6: 1}


def test_an_open_snapshot_is_waited_for(
    reference_server: StreamServer, add_stream: Add, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its end switches all types; the one type continues from there."""
    monkeypatch.setattr("durable_state.consumer.replay_target.STAGED_SECONDS", 0.2)
    remote = RemoteStream(reference_server.stream())
    remote.append([score("1", 1), control("snapshot-start"), score("2", 5)])
    stream, looks, hand_over = add_stream(remote.url), [], type_replay._up_to

    def look(*told: Any) -> Any:
        looks.append(1)
        return hand_over(*told)

    monkeypatch.setattr(type_replay, "_up_to", look)
    with consuming(stream):
        wait_until(lambda: is_live(stream))
        operations.reset(stream, actor="ada", entity_type="score")
        wait_until(lambda: len(looks) >= 2)
        assert list(Score.objects.values_list("number", flat=True)) == [1]
        remote.append([score("3", 5), control("snapshot-end")])
        wait_until(lambda: replay_of(stream) is None)
        wait_until(lambda: Stream.objects.get().ordinal == 5)
    connections.close_all()
    assert points() == {2: 5, 3: 5}
    assert counted(stream) == 5


def test_what_cannot_be_folded_by_itself_is_refused(add_stream: Add) -> None:
    """While another reset is under way, and if the stream cannot continue."""
    stream = add_stream()
    operations.reset(stream, actor="ada", entity_type="score")
    operations.reset(stream, actor="ada", entity_type="score")
    with pytest.raises(OperationRefused, match="A reset of the type score is under way"):
        operations.reset(stream, actor="ada", entity_type="message")
    operations.reset(stream, actor="ada")
    with pytest.raises(OperationRefused, match="A reset of the whole stream is under way"):
        operations.reset(stream, actor="ada", entity_type="message")
    operations.cancel_reset(stream, actor="ada")
    Stream.objects.update(status=Status.NEEDS_RESET, last_error="answered 410")
    with pytest.raises(OperationRefused, match="answered 410"):
        operations.reset(stream, actor="ada", entity_type="message")
    assert not TypeState.objects.exists()
    assert not File.objects.exists()
