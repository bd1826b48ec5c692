"""Answers that trickle, hang or cannot be used: complete messages are shown, and the status
describes the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from durable_state import operations
from durable_state.consumer.run import sync
from durable_state.errors import OperationRefused
from durable_state.models import Stream
from tests.servers.misbehaving import Asked, MisbehavingServer, Reply, StreamReplies
from tests.tables import check
from tests.wire import encode

from .support.consuming import consuming, wait_until
from .support.serving import ITEMS, good, quiet

pytestmark = pytest.mark.django_db(transaction=True)

Add = Callable[..., Stream]
JSON = {"Content-Type": "application/json", "Stream-Next-Offset": "a"}


@pytest.fixture(autouse=True)
def impatient(settings: Any) -> None:
    """Keeps waits short in tests."""
    settings.DURABLE_STATE = {"STUCK_SECONDS": 2}


def stuck(stream: Stream, words: str) -> bool:
    """Whether the status says that the stream is stuck, and why, in these words."""
    report = operations.report(stream)
    return report.stuck and words in report.why


def test_a_trickle_is_shown_as_it_comes(
    misbehaving_server: MisbehavingServer, add_stream: Add
) -> None:
    """One message per second, from an answer without an end: none waits for the others."""
    pieces = [b"[" + encode(ITEMS[0]), *[b"," + encode(item) for item in ITEMS[1:]]]
    misbehaving_server.reply = lambda asked: Reply(
        200, JSON, tuple(pieces), framing="chunked", pause=1.0
    )
    stream = add_stream(misbehaving_server.url + "/s")
    with consuming(stream):
        for filled in (Stream.objects.filter(ordinal__gte=count) for count in (1, 3)):
            wait_until(filled.exists, 30)
            assert len(ITEMS) > Stream.objects.get().ordinal
            assert not operations.report(stream).stuck


@pytest.mark.parametrize("items", [0, 3])
def test_an_answer_that_stands_still_is_stuck_however_busy(
    misbehaving_server: MisbehavingServer, add_stream: Add, items: int
) -> None:
    """Messages that were complete before are shown; `since` is when something last came."""
    before = b"[" + b"".join(encode(item) + b"," for item in ITEMS[:items])
    start = timezone.now()

    def reply(asked: Asked) -> Reply:
        pieces = before if asked.query["offset"] == "-1" else b"["
        return Reply(200, JSON, (pieces, *[b" "] * 10_000), framing="chunked", pause=0.02)

    misbehaving_server.reply = reply
    stream = add_stream(misbehaving_server.url + "/s")
    with consuming(stream):
        wait_until(lambda: stuck(stream, "without a complete message"), 30)
    report = operations.report(stream)
    assert report.ordinal == items
    assert report.since - start < timedelta(seconds=15)
    assert report.action
    check(stream, ITEMS[:items])


def test_a_head_that_trickles_is_stuck(
    misbehaving_server: MisbehavingServer, add_stream: Add
) -> None:
    """It does not stay `new` for ever."""
    misbehaving_server.reply = lambda asked: Reply(200, JSON | {"X": "x" * 10_000}, head_pause=0.1)
    stream = add_stream(misbehaving_server.url + "/s", heartbeat_seconds=1)
    with consuming(stream):
        wait_until(lambda: stuck(stream, "did not finish the head of its answer"), 30)


def test_pages_without_messages_are_stuck(
    misbehaving_server: MisbehavingServer, add_stream: Add
) -> None:
    """Each has another offset, and none reaches the tail; the status does not flicker with them."""

    def reply(asked: Asked) -> Reply:
        page = int(asked.query["offset"]) + 1
        return Reply(200, JSON | {"Stream-Next-Offset": f"{page + 10}"}, (b"[]",), pause=0.1)

    misbehaving_server.reply = reply
    stream = add_stream(misbehaving_server.url + "/s")
    with consuming(stream):
        wait_until(lambda: stuck(stream, "without a complete message"), 30)
        offset = Stream.objects.get().offset
        wait_until(lambda: Stream.objects.get().offset != offset)
        assert stuck(stream, "without a complete message")


def test_events_that_are_never_confirmed_are_read_by_get(
    misbehaving_server: MisbehavingServer, add_stream: Add
) -> None:
    """No control event comes, but the answers to GET have the same messages."""
    groups = [[encode(item) for item in ITEMS[:40]], [encode(item) for item in ITEMS[40:]]]
    server, few, all_ = misbehaving_server, StreamReplies(groups[:1]), StreamReplies(groups)

    def reply(asked: Asked) -> Reply:
        if asked.query.get("live") != "sse":
            return (all_ if len(server.asked) > 1 else few)(asked)
        event = b"event: data\ndata: [%b]\n\n" % encode(ITEMS[40])
        pieces = (event, *[b": alive\n\n"] * 10_000)
        return Reply(200, {"Content-Type": "text/event-stream"}, pieces, "chunked", pause=0.1)

    server.reply = reply
    stream = add_stream(server.url + "/s")
    with consuming(stream):
        wait_until(lambda: Stream.objects.filter(ordinal=80).exists(), 30)
    check(stream, ITEMS)


def test_events_that_nothing_confirms_are_stuck(
    misbehaving_server: MisbehavingServer, add_stream: Add
) -> None:
    """The answers to GET say that there is nothing: the stream is not shown as live."""
    server, replies = misbehaving_server, good()

    def reply(asked: Asked) -> Reply:
        if asked.query.get("live") != "sse":
            return replies(asked)
        pieces = (b"event: data\ndata: [1]\n\n", *[b": alive\n\n"] * 10_000)
        return Reply(200, {"Content-Type": "text/event-stream"}, pieces, "chunked", pause=0.05)

    server.reply = reply
    stream = add_stream(server.url + "/s")
    with consuming(stream):
        wait_until(lambda: stuck(stream, "no control event confirms"), 60)
        assert operations.report(stream).lag_seconds > 0
    check(stream, ITEMS)


@pytest.mark.parametrize(
    ("trouble", "said", "action"),
    [
        ({"Content-Encoding": "gzip, gzip"}, "content coding gzip, gzip", "correct the server"),
        ({}, "message number 81 is larger than MESSAGE_BYTES = 5000", "Raise DURABLE_STATE"),
    ],
    ids=["codings", "message"],
)
def test_what_cannot_be_taken_halts(
    misbehaving_server: MisbehavingServer,
    add_stream: Add,
    settings: Any,
    trouble: dict[str, str],
    said: str,
    action: str,
) -> None:
    """Visibly, with everything before it; it continues once somebody has dealt with it and
    resumed.
    """
    settings.DURABLE_STATE = {"MESSAGE_BYTES": 5_000}
    large = {"type": "note", "key": "large", "headers": {"operation": "delete"}, "x": "y" * 5_000}
    server, replies = misbehaving_server, good()
    replies.groups.append([encode(large)])

    def reply(asked: Asked) -> Reply:
        answer = replies(asked)
        return Reply(answer.status, answer.headers | trouble, answer.pieces)

    server.reply = reply
    stream = add_stream(server.url + "/s")
    with pytest.raises(OperationRefused, match=said):
        sync(stream, until_up_to_date=True)
    report = operations.report(stream)
    assert (report.status, report.stuck) == ("halted", True)
    assert said in report.why
    assert action in report.action
    assert report.ordinal == (0 if trouble else 80)

    settings.DURABLE_STATE = {}
    server.reply = replies
    operations.resume(stream, actor="test")
    sync(stream, until_up_to_date=True)
    assert Stream.objects.get().ordinal == 81


def test_a_faulty_environment_is_the_streams_last_error(
    misbehaving_server: MisbehavingServer, add_stream: Add, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not a traceback: one line that names the variable, for the streams that it affects."""
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/bundle.pem")
    misbehaving_server.reply = lambda asked: quiet(asked, good())
    plain = add_stream(misbehaving_server.url + "/s")
    sync(plain, until_up_to_date=True)
    check(plain, ITEMS)
    secure = add_stream(misbehaving_server.url.replace("http:", "https:") + "/s")
    with pytest.raises(OperationRefused, match="The environment variable SSL_CERT_FILE cannot"):
        sync(secure, until_up_to_date=True)
    monkeypatch.setenv("NO_PROXY", "fd00::/8")
    other = add_stream(misbehaving_server.url + "/other")
    with pytest.raises(OperationRefused, match="The environment variable NO_PROXY cannot"):
        sync(other, until_up_to_date=True)
    for stream, variable in ((secure, "SSL_CERT_FILE"), (other, "NO_PROXY")):
        report = operations.report(stream)
        assert (report.status, report.stuck) == ("halted", True)
        assert f"The environment variable {variable} cannot be used" in report.last_error
        assert f"Correct or unset {variable}" in report.action
