"""A stream that was restored, or created anew, is folded again, whatever it has in common with
the old one; a server restart alone does not count.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.utils import timezone

from durable_state.consumer import recognizer, seat_keeper
from durable_state.consumer.run import consume_slice, sync
from durable_state.consumer.watcher import Watcher
from durable_state.errors import OperationRefused
from durable_state.models import Replay, Status, Stream
from tests.app.models import Message
from tests.servers.misbehaving import Asked, MisbehavingServer, Reply, StreamReplies
from tests.servers.process import StreamServer
from tests.servers.rakaia import free_port
from tests.servers.reference import reference
from tests.tables import rows_of
from tests.wire import encode, insert

from .support.consuming import consuming, wait_until
from .support.remote import RemoteStream

pytestmark = pytest.mark.django_db(transaction=True)

Add = Callable[..., Stream]
NOTICED = "Replaying it from its start"


def texts(count: int, start: int = 0, word: str = "old") -> list[dict[str, Any]]:
    """Inserts of the same length for every number and every word of three letters."""
    return [
        insert("message", f"{word}{n:05}", {"text": f"{word}{n:05}"})
        for n in range(start, start + count)
    ]


def fill(remote: RemoteStream, items: list[dict[str, Any]], size: int = 100) -> None:
    """Appends in groups."""
    with httpx.Client(headers={"content-type": "application/json"}) as client:
        for start in range(0, len(items), size):
            body = b",".join(map(encode, items[start : start + size]))
            client.post(remote.url, content=b"[%b]" % body).raise_for_status()
    remote.items += items


def replace(remote: RemoteStream, items: list[dict[str, Any]], size: int = 100) -> None:
    """What a restored backup, or an import, leaves: other messages under the same URL."""
    remote.delete()
    remote.create()
    fill(remote, items, size)


def shown(using: str = "default") -> dict[str, str]:
    """The rows of the messages."""
    return dict(Message.objects.using(using).values_list("key", "text"))


def held(items: list[dict[str, Any]]) -> dict[str, str]:
    """The rows that the inserts result in."""
    return {item["key"]: item["value"]["text"] for item in items}


def is_live(stream: Stream, ordinal: int | None = None) -> bool:
    """Whether the tail was reached, and so many messages were read."""
    stream.refresh_from_db()
    return stream.status == Status.LIVE and ordinal in (None, stream.ordinal)


def wait_until_reread(stream: Stream) -> None:
    """Returns once the stream is live, and was read again since now."""
    now = timezone.now()
    wait_until(
        lambda: is_live(stream) and stream.reread_at is not None and stream.reread_at > now,
        seconds=30,
    )


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checks that follow one another quickly."""
    for name in ("NEAR_SECONDS", "QUIET_SECONDS", "DEEP_SECONDS", "REST_SECONDS"):
        monkeypatch.setattr(recognizer, name, 0.2)
    monkeypatch.setattr(seat_keeper, "PASS_SECONDS", 0.2)


OLD = texts(1_000)
OTHERS = {
    "restored to 600, 500 others": OLD[:600] + texts(500, 600, "new"),
    "800 alike, as many as before": OLD[:800] + texts(200, 800, "new"),
    "800 alike, then many more": OLD[:800] + texts(3_000, 800, "new"),
    "800 alike, then fewer": OLD[:800] + texts(50, 800, "new"),
    "the last append replaced": OLD[:990] + texts(10, 990, "new"),
    "one append in the middle replaced": OLD[:500] + texts(10, 500, "new") + OLD[510:],
}


@pytest.mark.parametrize("others", OTHERS)
def test_a_difference_is_noticed_at_the_next_start(
    stream_server: StreamServer, add_stream: Add, others: str
) -> None:
    """Even if everything after it is the same; and once, not at each start."""
    remote = RemoteStream(stream_server.stream())
    fill(remote, OLD, 50)
    stream = add_stream(remote.url)
    sync(stream, until_up_to_date=True)
    replace(remote, OTHERS[others], 50)
    sync(stream, until_up_to_date=True)
    assert shown() == held(remote.items)
    assert (stream.status, stream.ordinal) == (Status.LIVE, len(OTHERS[others]))
    revision = stream.revision
    sync(stream, until_up_to_date=True)
    assert stream.revision == revision


def test_one_append_of_ten_in_four_thousand_messages(
    database: str, reference_server: StreamServer, add_stream: Add
) -> None:
    """It was lost, and ten others of the same length took its place; on each database."""
    remote = RemoteStream(reference_server.stream())
    old, new = texts(4_000), texts(10, 2_340, "new")
    for part in (old[:2_340], old[2_340:2_350], old[2_350:]):
        fill(remote, part, 300)
    stream = add_stream(remote.url, using=database)
    sync(stream, until_up_to_date=True)
    remote.delete()
    remote.create()
    for part in (old[:2_340], new, old[2_350:]):
        fill(remote, part, 300)
    sync(stream, until_up_to_date=True)
    assert shown(database) == held(remote.items)
    assert Message.objects.using(database).filter(key__startswith="new").count() == 10


@pytest.mark.parametrize(
    ("others", "live"),
    [
        ("restored to 600, 500 others", "sse"),
        ("800 alike, as many as before", "long-poll"),
        ("one append in the middle replaced", "sse"),
        ("800 alike, then many more", "sse"),
    ],
)
@pytest.mark.usefixtures("no_waiting")
def test_a_difference_is_noticed_while_nothing_happens(
    stream_server: StreamServer, add_stream: Add, others: str, live: str
) -> None:
    """The stream is replaced under a consumer that waits for the next message, which never
    comes.
    """
    remote = RemoteStream(stream_server.stream())
    fill(remote, OLD, 50)
    stream = add_stream(remote.url, live=live)
    with consuming(stream):
        wait_until(lambda: is_live(stream))
        replace(remote, OTHERS[others], 50)
        wait_until(lambda: shown() == held(remote.items), seconds=30)
        wait_until(lambda: is_live(stream, len(remote.items)))
        fill(remote, texts(20, 0, "end"))
        wait_until(lambda: is_live(stream, len(remote.items)))
    assert shown() == held(remote.items)


@pytest.mark.usefixtures("no_waiting")
def test_a_stream_that_stays_is_not_taken_for_another(
    stream_server: StreamServer, add_stream: Add, caplog: pytest.LogCaptureFixture
) -> None:
    """However often it is checked: while it grows, as it is read in pieces, and while it is
    quiet.
    """
    caplog.set_level(logging.INFO, "durable_state.consumer")
    remote = RemoteStream(stream_server.stream())
    fill(remote, OLD, 70)
    stream = add_stream(remote.url)
    with consuming(stream):
        wait_until(lambda: is_live(stream, 1_000))
        for number in range(6):
            fill(remote, texts(30, number * 30, "new"), 7)
            wait_until(lambda number=number: is_live(stream, 1_030 + number * 30))  # type: ignore[misc]
        wait_until_reread(stream)
    assert shown() == held(remote.items)
    assert NOTICED not in caplog.text
    assert "could not be compared again" not in caplog.text


def test_a_server_that_starts_again_is_not_another_and_its_backup_is(
    add_stream: Add, tmp_path: Path, caplog: pytest.LogCaptureFixture, no_waiting: None
) -> None:
    """Both under a live consumer: the rows stay as they are, with their primary keys; then they
    become those of the backup and what followed.
    """
    port = free_port()
    with reference(data_dir=tmp_path / "now", port=port) as server:
        remote = RemoteStream(server.stream())
        fill(remote, OLD[:600])
    shutil.copytree(tmp_path / "now", tmp_path / "backup")
    stream = add_stream(remote.url)
    with reference(data_dir=tmp_path / "now", port=port):
        fill(remote, OLD[600:])
        sync(stream, until_up_to_date=True)
        before = rows_of(stream, pks=True)
    with consuming(stream):
        for _ in range(2):
            wait_until(lambda: Stream.objects.get().status == Status.RETRYING)
            with reference(data_dir=tmp_path / "now", port=port):
                wait_until_reread(stream)
        assert rows_of(stream, pks=True) == before
        assert NOTICED not in caplog.text
        wait_until(lambda: Stream.objects.get().status == Status.RETRYING)
        with reference(data_dir=tmp_path / "backup", port=port):
            remote.items = remote.items[:600]
            fill(remote, texts(500, 600, "new"))
            wait_until(lambda: is_live(stream, 1_100), seconds=30)
    assert shown() == held(remote.items)
    assert NOTICED in caplog.text
    after = rows_of(stream, pks=True)
    assert after != before


def test_rows_are_shown_until_the_switch(
    reference_server: StreamServer, add_stream: Add, settings: Any
) -> None:
    """Nobody sees a table without the rows that both streams hold, and these keep their primary
    keys.
    """
    settings.DURABLE_STATE = {"LEASE_SECONDS": 1, "BATCH_ROWS": 50}
    remote = RemoteStream(reference_server.stream())
    fill(remote, OLD)
    stream = add_stream(remote.url)
    sync(stream, until_up_to_date=True)
    alike = Message.objects.filter(key__startswith="old", key__lt="old00600")
    pks, seen = dict(alike.values_list("key", "pk")), set()
    replace(remote, OTHERS["restored to 600, 500 others"])
    with consuming(stream):
        while not is_live(stream, 1_100):
            seen.add(Message.objects.count())
    assert seen <= {1_000, 1_100}
    assert dict(alike.values_list("key", "pk")) == pks


def test_a_replay_has_the_same_rule(
    reference_server: StreamServer, add_stream: Add, settings: Any
) -> None:
    """It is in the middle of the second stream when a third takes its place."""
    settings.DURABLE_STATE = {"LEASE_SECONDS": 1, "BATCH_ROWS": 50}
    remote = RemoteStream(reference_server.stream())
    fill(remote, OLD)
    stream = add_stream(remote.url)
    sync(stream, until_up_to_date=True)
    replace(remote, texts(500, 0, "mid"))

    def stop_inside(at: Any) -> None:
        if isinstance(at, Replay) and at.ordinal >= 200:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(OperationRefused, match="rebuilt"):
        sync(stream, until_up_to_date=True, watcher=Watcher(progressed=stop_inside))
    replay = Replay.objects.get()
    assert 0 < replay.ordinal < 500
    replace(remote, texts(100, 0, "mid") + texts(500, 100, "new"))
    sync(stream, until_up_to_date=True)
    assert shown() == held(remote.items)
    assert not Replay.objects.exists()


@pytest.mark.usefixtures("no_waiting")
@pytest.mark.parametrize("size", [1, 400])
def test_a_server_without_offsets_on_messages(
    misbehaving_server: MisbehavingServer, add_stream: Add, size: int
) -> None:
    """The whole stream in one answer, of a hundred kilobytes or forty times as much, which is
    read again beside the live reader.
    """
    items = [
        insert("message", f"k{n:04}", {"text": f"t{n:04}", "more": "x" * 10 * size})
        for n in range(1_000)
    ]
    remote = StreamReplies([[encode(item) for item in items]])

    def reply(asked: Asked) -> Reply:
        answer = remote(asked)
        if "live" not in asked.query or answer.pieces != (b"[]",):
            return answer
        return Reply(204, answer.headers, (b"",), pause=0.3)

    misbehaving_server.reply = reply
    stream = add_stream(misbehaving_server.url, live="long-poll")
    with consuming(stream):
        wait_until(lambda: is_live(stream, 1_000))
        items[300:310] = [
            insert("message", f"n{n:04}", {"text": f"n{n:04}", "more": "x" * 10 * size})
            for n in range(300, 310)
        ]
        remote.groups = [[encode(item) for item in items]]
        wait_until(lambda: Message.objects.filter(key__startswith="n").count() == 10, 30)
        wait_until(lambda: is_live(stream, 1_000))
    assert shown() == held(items)


@pytest.mark.usefixtures("no_waiting")
def test_what_the_server_no_longer_keeps_is_no_other_stream(
    misbehaving_server: MisbehavingServer, add_stream: Add, caplog: pytest.LogCaptureFixture
) -> None:
    """It drops the old part (410): the rows stay, and reading continues."""
    groups = [[encode(item)] for item in OLD[:50]]
    remote, kept = StreamReplies(groups), 0

    def reply(asked: Asked) -> Reply:
        if remote.index(asked.query["offset"]) < kept:
            return Reply(410)
        answer = remote(asked)
        if answer.pieces == (b"[]",):
            return Reply(204, answer.headers, (b"",), pause=0.3)
        return answer

    misbehaving_server.reply = reply
    stream = add_stream(misbehaving_server.url, live="long-poll")
    with consuming(stream):
        wait_until(lambda: is_live(stream, 50))
        kept = 50
        wait_until_reread(stream)
        groups.append([encode(OLD[50])])
        wait_until(lambda: is_live(stream, 51))
    assert Message.objects.count() == 51
    assert NOTICED not in caplog.text


def test_slices_do_not_read_much_again_each_time(
    misbehaving_server: MisbehavingServer, add_stream: Add, settings: Any
) -> None:
    """The first of them makes a long check; the next ones find it recorded, and make a quick one
    each.
    """
    settings.DURABLE_STATE = {"LEASE_SECONDS": 1, "SLICE_SECONDS": 2}
    remote = StreamReplies([[encode(item)] for item in texts(20)])

    def reply(asked: Asked) -> Reply:
        answer = remote(asked)
        if answer.pieces == (b"[]",):
            return Reply(204, answer.headers, (b"",), pause=0.3)
        return answer

    misbehaving_server.reply = reply
    stream = add_stream(misbehaving_server.url, live="long-poll")
    sync(stream, until_up_to_date=True)
    assert stream.reread_at is None
    looks = []
    for _ in range(3):
        begun = len(misbehaving_server.asked)
        consume_slice("default")
        asked = misbehaving_server.asked[begun:]
        looks.append(sum(each.query["offset"] == "-1" for each in asked))
    stream.refresh_from_db()
    assert stream.reread_at is not None
    assert looks == [2, 1, 1]
