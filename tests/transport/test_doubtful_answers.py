"""Answers that no server should give, but some do: interpreted in the only possible way, or
refused with an explanation, and never requested more often than is polite.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import httpx
import pytest

from durable_state.errors import ProtocolViolation, Stalled
from durable_state.protocol import START
from durable_state.transport import Rereader, head
from durable_state.transport.backoff import pause_after_empty
from durable_state.transport.events import EventBody
from tests.servers.misbehaving import Asked, MisbehavingServer, Reply

from .support.answers import JSON, control, data, empty, events
from .support.reading import keys, message, read

UP_TO_DATE = {"Stream-Up-To-Date": "true"}


def round_and_round(asked: Asked) -> Reply:
    """Leads from one offset to the other, and back, without a message."""
    return empty("b" if asked.query["offset"] == "a" else "a")


async def requests_in(seconds: float, server: MisbehavingServer, client: httpx.AsyncClient) -> int:
    """How often a reader asks the server in that time."""
    with pytest.raises(TimeoutError):
        await read(client, server.url, live="sse", seconds=seconds)
    return len(server.asked)


async def test_answers_that_lead_in_a_circle_are_asked_for_politely(
    client: httpx.AsyncClient, misbehaving_server: MisbehavingServer
) -> None:
    """A few at once, and then the longer it goes on, the less often."""
    misbehaving_server.reply = round_and_round
    assert await requests_in(2, misbehaving_server, client) <= 17
    pauses = [pause_after_empty(answers) for answers in (0, 9, 10, 12, 100, 10_000)]
    assert pauses == [0.0, 0.0, 0.02, 0.08, 2.0, 2.0]


async def test_a_message_ends_the_pauses(
    client: httpx.AsyncClient, misbehaving_server: MisbehavingServer
) -> None:
    """Existing messages are read as fast as they come, however much was left out before."""
    offsets = iter(range(1_000))

    def reply(asked: Asked) -> Reply:
        number = next(offsets)
        items = message(number) if number >= 12 else b""
        flags = UP_TO_DATE if number == 300 else {}
        return Reply(200, JSON | {"Stream-Next-Offset": f"o{number}"} | flags, (b"[%b]" % items,))

    misbehaving_server.reply = reply
    began = time.monotonic()
    assert len(keys(await read(client, misbehaving_server.url))) == 289
    assert time.monotonic() - began < 8


async def test_a_stream_that_cannot_be_recognized_for_a_circle(
    client: httpx.AsyncClient, misbehaving_server: MisbehavingServer
) -> None:
    """Checking what was read before ends, too."""
    misbehaving_server.replies(
        Reply(200, JSON | {"Stream-Next-Offset": "a"} | UP_TO_DATE, (b"[%b]" % message(0),))
    )
    (batch,) = await read(client, misbehaving_server.url)
    assert batch.checkpoint is not None
    misbehaving_server.asked.clear()
    misbehaving_server.reply = round_and_round
    looking = Rereader(client, misbehaving_server.url, stuck_seconds=1.0).look(batch.checkpoint)
    with pytest.raises(Stalled):
        async with asyncio.timeout(20):
            await looking
    assert len(misbehaving_server.asked) <= 20


NO_OFFSETS = ["", "\\u0000", "a\\nb", "1,2", "\\u2028"]


@pytest.mark.parametrize("offset", NO_OFFSETS)
async def test_what_is_no_offset_is_not_stored(
    client: httpx.AsyncClient, misbehaving_server: MisbehavingServer, offset: str
) -> None:
    """It would fail in the database, or be refused by the server for ever after."""
    misbehaving_server.reply = lambda asked: (
        events(data(message(0)) + control(offset))
        if "live" in asked.query
        else empty("a", "Stream-Up-To-Date")
    )
    with pytest.raises(ProtocolViolation, match=r"gave (an empty|the|several) offset"):
        await read(client, misbehaving_server.url, live="sse")


async def test_a_header_that_is_there_twice_says_what_both_say(
    client: httpx.AsyncClient, misbehaving_server: MisbehavingServer
) -> None:
    """A proxy that adds a header again makes ``5, 5`` of an offset."""
    first = {"Content-Type": "application/json; charset=utf-8", "Stream-Next-Offset": "5"}
    second = {name.lower(): value for name, value in first.items()}
    both = first | second | {"Stream-Closed": "true", "stream-closed": "true"}
    misbehaving_server.replies(
        Reply(200, both, (b"[%b]" % message(0),)), Reply(200, both, (b"[]",))
    )
    *_, last = await read(client, misbehaving_server.url, live="sse")
    assert last.closed
    assert last.position == ("5", 0, 1)
    misbehaving_server.replies(Reply(200, first | {"stream-next-offset": "6"}, (b"[]",)))
    with pytest.raises(ProtocolViolation, match="several offsets at once"):
        await read(client, misbehaving_server.url)


def followed_by(*parts: bytes) -> Callable[[Asked], Reply]:
    """An empty stream, and what its events say at the tail."""
    return lambda asked: (
        events(*parts) if "live" in asked.query else empty("a", "Stream-Up-To-Date")
    )


async def test_a_control_event_may_say_more_than_it_must(
    client: httpx.AsyncClient, misbehaving_server: MisbehavingServer
) -> None:
    """Some servers write null for absent values, and numbers for cursors."""
    more = ', "upToDate": null, "streamClosed": null, "streamCursor": 5, "other": {}'
    misbehaving_server.reply = followed_by(
        data(message(0)), control("b", more), data(message(1)), control("c")
    )
    batches = await read(
        client, misbehaving_server.url, live="sse", until=lambda found: len(keys(found)) == 2
    )
    assert keys(batches) == ["0", "1"]
    (marker,) = EventBody().feed(control("b", more))
    assert (marker.cursor, marker.up_to_date, marker.closed) == ("5", False, False)


async def test_an_event_without_data_brings_no_message(
    client: httpx.AsyncClient, misbehaving_server: MisbehavingServer
) -> None:
    """An empty one is not a dead letter."""
    nothing = b"event: data\ndata:\n\nevent: data\ndata: \ndata:\n\n"
    misbehaving_server.reply = followed_by(
        nothing, control("a"), data(message(0)), nothing, control("c")
    )
    batches = await read(
        client, misbehaving_server.url, live="sse", until=lambda found: len(keys(found)) == 1
    )
    assert keys(batches) == ["0"]
    assert batches[-1].position == ("c", 0, 1)


@pytest.mark.parametrize(
    ("said", "seconds"), [("60", 60), ("", None), ("9" * 5_000, None), ("٧", None), ("-1", None)]
)
async def test_a_time_to_live_that_is_no_number_of_seconds_is_none(
    client: httpx.AsyncClient, misbehaving_server: MisbehavingServer, said: str, seconds: int | None
) -> None:
    """Python itself refuses a number of so many digits."""
    ttl = said.encode().decode("latin-1")
    misbehaving_server.head = Reply(200, JSON | {"Stream-Next-Offset": "a", "Stream-TTL": ttl})
    assert (await head(client, misbehaving_server.url)).ttl == seconds


async def test_the_beginning_is_asked_for_once_where_it_is_all_there_is(
    client: httpx.AsyncClient, misbehaving_server: MisbehavingServer
) -> None:
    """An empty stream that is already closed."""
    misbehaving_server.replies(empty("a", "Stream-Closed"))
    (batch,) = await read(client, misbehaving_server.url, START, live="sse")
    assert batch.closed
    assert len(misbehaving_server.asked) == 1
