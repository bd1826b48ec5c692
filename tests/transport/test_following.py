"""The tail is followed in a simpler way if something breaks the requested one."""

from __future__ import annotations

import time
from collections.abc import Callable

import httpx
import pytest

from durable_state.errors import NotJson, Silent
from durable_state.protocol import START
from durable_state.transport import Batch, LiveMode, following, request, session
from durable_state.transport.following import Following
from durable_state.transport.request import Mode
from tests.servers.misbehaving import Asked, MisbehavingServer, Reply

from .support.reading import keys, message, messages, read

EVENTS = {"Content-Type": "text/event-stream"}


class Tail:
    """A stream of one message per append, each of which comes when the server is asked often
    enough.
    """

    def __init__(self, server: MisbehavingServer) -> None:
        self.appended = 0
        self.append_at = 6
        self.server = server

    def offset(self) -> str:
        """Of the tail."""
        return f"o{self.appended}"

    def get(self, asked: Asked) -> Reply:
        """Answers like a proper server that never waits."""
        if len(self.server.asked) >= self.append_at and not self.appended:
            self.appended = 1
        at = asked.query["offset"]
        found = messages(self.appended, 0)[0 if at in ("-1", "o0") else 1 :]
        headers = {"Content-Type": "application/json", "Stream-Next-Offset": self.offset()}
        body = b"[%b]" % b",".join(found)
        return Reply(200, headers | {"Stream-Up-To-Date": "true"}, (body,))

    def wait(self, asked: Asked) -> Reply:
        """Answers a long-poll like a proper server."""
        reply = self.get(asked)
        if reply.pieces != (b"[]",):
            return reply
        headers = {"Stream-Next-Offset": self.offset(), "Stream-Up-To-Date": "true"}
        return Reply(204, headers, wait=0.25)


def control(offset: str = "o0") -> bytes:
    """The beginning of an event stream."""
    return b'event: control\ndata: {"streamNextOffset":"%b","upToDate":true}\n\n' % offset.encode()


def events(*pieces: bytes, **options: object) -> Reply:
    """An event stream."""
    return Reply(200, EVENTS, pieces, framing="chunked", **options)  # type: ignore[arg-type]


def has(count: int) -> Callable[[list[Batch]], bool]:
    """Whether so many messages have arrived."""
    return lambda batches: len(keys(batches)) >= count


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Less time than a real server would get."""
    monkeypatch.setattr(request, "FIRST_EVENT", 0.5)
    monkeypatch.setattr(session, "FIRST_EVENT", 0.5)
    monkeypatch.setattr(following, "POLL", 0.1)


@pytest.fixture
def tail(misbehaving_server: MisbehavingServer) -> Tail:
    """The messages on the server."""
    return Tail(misbehaving_server)


SPOILT = {
    "cut before its first event": events(b"event: con", cut=10),
    "reset": Reply(reset=True),
    "ended before its first event": events(),
    "no head": events(b"x", wait=3.0),
    "no events": events(b": alive\n\n", cut=9, silent=True),
    "answered at once": events(control()),
    "no event stream": Reply(
        200, {"Content-Type": "application/json", "Stream-Next-Offset": "o0"}, (b"[]",)
    ),
}


@pytest.mark.parametrize("spoilt", SPOILT.values(), ids=list(SPOILT))
async def test_events_that_something_spoils_are_left_for_long_poll(
    client: httpx.AsyncClient, misbehaving_server: MisbehavingServer, tail: Tail, spoilt: Reply
) -> None:
    """Within seconds, without an error, and it is reported."""
    misbehaving_server.reply = lambda asked: (
        spoilt
        if asked.query.get("live") == "sse"
        else (tail.wait if "live" in asked.query else tail.get)(asked)
    )
    follow, began = Following("sse"), time.monotonic()
    batches = await read(client, misbehaving_server.url, live="sse", following=follow, until=has(1))
    assert keys(batches) == ["0"]
    assert time.monotonic() - began < 8
    assert follow.detour.startswith("followed by long-poll: ")
    asked = [each.query.get("live") for each in misbehaving_server.asked]
    assert asked.count("sse") <= 3


@pytest.mark.parametrize("live", ["sse", "long-poll"])
async def test_a_cache_that_answers_everything_at_once_is_asked_now_and_then(
    client: httpx.AsyncClient, misbehaving_server: MisbehavingServer, tail: Tail, live: LiveMode
) -> None:
    """A message is late by the time between two requests, and nothing is hammered."""
    tail.append_at = 20

    def reply(asked: Asked) -> Reply:
        if asked.query.get("live") == "sse":
            return events(control())
        answer = tail.get(asked)
        if "live" in asked.query and answer.pieces == (b"[]",):
            return Reply(204, answer.headers)
        return answer

    misbehaving_server.reply = reply
    follow, began = Following(live), time.monotonic()
    batches = await read(client, misbehaving_server.url, live=live, following=follow, until=has(1))
    assert keys(batches) == ["0"]
    assert time.monotonic() - began > 1
    assert follow.detour.startswith("followed by a request each")


def test_what_goes_well_in_between_is_no_reason_for_a_plainer_way() -> None:
    """Only consecutive failures count: messages, or an event stream that begins, end the row."""
    polled, streamed = Following("long-poll"), Following("sse")
    for _ in range(5):
        polled.ended(Mode.LONG_POLL, 0.0)
        polled.brought()
        streamed.cut(Mode.SSE)
        streamed.began()
    assert (polled.mode, polled.detour) == (Mode.LONG_POLL, "")
    assert (streamed.mode, streamed.detour) == (Mode.SSE, "")


async def test_a_server_with_few_signs_of_life_is_no_outage(
    client: httpx.AsyncClient, misbehaving_server: MisbehavingServer, tail: Tail
) -> None:
    """A plain request says that nothing is new; and events are followed again."""
    misbehaving_server.reply = lambda asked: (
        events(control(), b"", cut=len(control()), silent=True)
        if "live" in asked.query and not tail.appended
        else tail.get(asked)
        if "live" not in asked.query
        else events(control("o1"), cut=1)
    )
    follow = Following("sse")
    batches = await read(
        client, misbehaving_server.url, live="sse", silence=0.6, following=follow, until=has(1)
    )
    assert keys(batches) == ["0"]
    asked = [each.query.get("live") for each in misbehaving_server.asked]
    assert asked == [None, "sse", None, "sse", None, "sse", None][: len(asked)]
    # The last of them had a message that the silent one before should have delivered.
    assert "held back" in follow.detour


async def test_a_long_poll_that_lasts_longer_is_no_outage(
    client: httpx.AsyncClient, misbehaving_server: MisbehavingServer, tail: Tail
) -> None:
    """As with events; a server whose plain answers fail too is a failure."""
    misbehaving_server.reply = lambda asked: (
        Reply(204, {"Stream-Next-Offset": "o0"}, wait=2.0)
        if "live" in asked.query
        else tail.get(asked)
    )
    batches = await read(
        client, misbehaving_server.url, live="long-poll", silence=0.6, until=has(1)
    )
    assert keys(batches) == ["0"]
    tail.appended = 0
    misbehaving_server.reply = lambda asked: (
        Reply(200, wait=2.0) if len(misbehaving_server.asked) > 10 else tail.get(asked)
    )
    with pytest.raises(Silent):
        await read(client, misbehaving_server.url, live="long-poll", silence=0.6)


async def test_what_was_asked_for_is_tried_again(
    client: httpx.AsyncClient, misbehaving_server: MisbehavingServer, tail: Tail
) -> None:
    """The proxy may have been repaired."""
    misbehaving_server.reply = lambda asked: (
        events()
        if asked.query.get("live") == "sse" and len(misbehaving_server.asked) < 6
        else events(b"event: data\ndata: [%b]\n\n" % message(0), control("o1"))
        if asked.query.get("live") == "sse"
        else (tail.wait if "live" in asked.query else tail.get)(asked)
    )
    tail.append_at = 1_000
    follow = Following("sse", again=0.6)
    batches = await read(client, misbehaving_server.url, live="sse", following=follow, until=has(1))
    assert keys(batches) == ["0"]
    assert follow.detour == ""
    asked = [each.query.get("live") for each in misbehaving_server.asked]
    assert asked[-1] == "sse"
    assert "long-poll" in asked


async def test_a_page_in_between_is_no_stream(
    client: httpx.AsyncClient, misbehaving_server: MisbehavingServer, tail: Tail
) -> None:
    """Neither by events nor by long-poll."""
    page = Reply(200, {"Content-Type": "text/html", "Stream-Next-Offset": "o0"}, (b"<p>",))
    misbehaving_server.reply = lambda asked: page if "live" in asked.query else tail.get(asked)
    with pytest.raises(NotJson, match="web page"):
        await read(client, misbehaving_server.url, START, live="sse")
