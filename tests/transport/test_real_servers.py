"""Reading works against the reference server and rakaia, in every mode, from every position."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import httpx
import pytest

from durable_state.errors import (
    NotJson,
    StreamClosed,
    StreamConflict,
    StreamNotFound,
    StreamRecreated,
)
from durable_state.protocol import START, Change, Malformed, Position, encode_change
from durable_state.transport import BatchLimits, LiveMode, append, close, create, delete, head
from tests.servers.process import StreamServer

from .support.reading import keys, message, messages, read

LIVE: list[LiveMode] = ["sse", "long-poll"]


@pytest.fixture
async def url(stream_server: StreamServer, client: httpx.AsyncClient) -> str:
    """An empty stream."""
    url = stream_server.stream()
    assert await create(client, url)
    return url


async def test_an_empty_stream_is_up_to_date(client: httpx.AsyncClient, url: str) -> None:
    """And the position is one at which the next read can begin."""
    (batch,) = await read(client, url)
    assert (batch.messages, batch.up_to_date, batch.closed) == ([], True, False)
    await append(client, url, messages(2))
    assert keys(await read(client, url, batch.position)) == ["0", "1"]


async def test_catch_up_reads_everything_in_bounded_batches(
    client: httpx.AsyncClient, url: str
) -> None:
    """However the appends were grouped; only the last batch is up to date."""
    for start in range(0, 50, 10):
        await append(client, url, messages(10, start))
    batches = await read(client, url, limits=BatchLimits(rows=7, bytes=1_000_000))
    assert keys(batches) == [str(n) for n in range(50)]
    assert all(len(batch.messages) <= 7 for batch in batches)
    assert [batch.up_to_date for batch in batches] == [False] * (len(batches) - 1) + [True]
    assert [batch.position.ordinal for batch in batches][-1] == 50


async def test_pages_of_the_server_are_followed(client: httpx.AsyncClient, url: str) -> None:
    """rakaia returns a thousand messages at once."""
    await append(client, url, messages(2_500))
    assert keys(await read(client, url)) == [str(n) for n in range(2_500)]


@pytest.mark.parametrize("live", [None, *LIVE])
async def test_reading_resumes_after_every_message(
    client: httpx.AsyncClient, url: str, live: LiveMode | None
) -> None:
    """From the position of each batch, the rest follows, nothing twice and nothing lost."""
    total = 8
    reading = (
        asyncio.create_task(
            read(
                client,
                url,
                live=live,
                limits=BatchLimits(1, 10),
                until=lambda found: len(keys(found)) == total,
            )
        )
        if live
        else None
    )
    for group in ([0], [1, 2, 3], [4], [5, 6, 7]):
        await asyncio.sleep(0.05)
        await append(client, url, [message(n) for n in group])
    batches = await reading if reading else await read(client, url, limits=BatchLimits(1, 10))
    assert keys(batches) == [str(n) for n in range(total)]
    for batch in batches:
        rest = await read(
            client, url, batch.position, checkpoint=batch.checkpoint, limits=BatchLimits(3, 1_000)
        )
        assert keys(rest) == [str(n) for n in range(batch.position.ordinal, total)]
        assert rest[-1].position.ordinal == total


@pytest.mark.parametrize("live", LIVE)
async def test_a_live_reader_gets_what_is_appended_at_once(
    client: httpx.AsyncClient, url: str, live: LiveMode
) -> None:
    """Even if, in between, the server has ended the connection, or answered that there is
    nothing.
    """
    await append(client, url, messages(3))
    reading = asyncio.create_task(
        read(client, url, live=live, until=lambda found: len(keys(found)) == 6)
    )
    for n in range(3, 6):
        await asyncio.sleep(0.8)
        await append(client, url, [message(n)])
    assert keys(await reading) == [str(n) for n in range(6)]


@pytest.mark.parametrize(
    ("when", "live"),
    [
        *((when, live) for when in ("before", "with the last") for live in (None, *LIVE)),
        *(("while reading", live) for live in LIVE),
    ],
)
async def test_a_closed_stream_is_complete(
    client: httpx.AsyncClient, url: str, live: LiveMode | None, when: str
) -> None:
    """The reader ends with a batch that says so, and with every message before it."""
    await append(client, url, messages(3), close=when == "with the last")
    if when == "before":
        await close(client, url)
    reading = asyncio.create_task(read(client, url, live=live))
    if when == "while reading":
        await asyncio.sleep(0.3)
        await append(client, url, [message("last")], close=True)
    batches = await reading
    assert keys(batches) == ["0", "1", "2", *(["last"] if when == "while reading" else [])]
    assert [batch.closed for batch in batches] == [False] * (len(batches) - 1) + [True]
    assert batches[-1].messages == []
    assert [batch.closed for batch in await read(client, url, batches[-1].position, live=live)] == [
        True
    ]


async def test_odd_items_arrive_as_they_are(client: httpx.AsyncClient, url: str) -> None:
    """Junk, text beyond ASCII, arrays in arrays, and a lone surrogate, which both servers
    accept.
    """
    odd = [
        b"5",
        b"null",
        b"[[1],[]]",
        encode_change("t", "k", "insert", '},{"é\U0001f600'),
        b'{"a":"\\ud800"}',
        message("end"),
    ]
    await append(client, url, odd)
    (batch,) = await read(client, url)
    found = [
        item.reason if isinstance(item, Malformed) else item.key
        for item in batch.messages
        if not hasattr(item, "kind")
    ]
    assert found == ["not-an-object", "not-an-object", "not-an-object", "k", "bad-json", "end"]
    change = batch.messages[3]
    assert isinstance(change, Change)
    assert change.value is not None


@pytest.mark.parametrize("live", LIVE)
async def test_deletion_is_noticed_while_reading(
    client: httpx.AsyncClient, url: str, live: LiveMode
) -> None:
    """As a 404, at once or when the server next answers."""
    await append(client, url, messages(3))
    reading = asyncio.create_task(read(client, url, live=live, silence=2))
    await asyncio.sleep(0.3)
    await delete(client, url)
    try:
        await reading
    except StreamNotFound:
        return
    except Exception:
        with pytest.raises(StreamNotFound):
            await read(client, url, live=live)
    else:
        pytest.fail("the reader ended")


@pytest.mark.parametrize("others", [1, 2, 3, 4, 40])
async def test_recreation_is_noticed_at_the_next_start(
    client: httpx.AsyncClient, url: str, others: int
) -> None:
    """Whether the new stream is shorter, as long, or longer."""
    await append(client, url, messages(3))
    last = (await read(client, url))[-1]
    await delete(client, url)
    await create(client, url)
    await append(client, url, messages(others, 100))
    with pytest.raises(StreamRecreated):
        await read(client, url, last.position, checkpoint=last.checkpoint)


@pytest.mark.parametrize("live", LIVE)
@pytest.mark.parametrize("others", [1, 3, 40])
async def test_recreation_is_noticed_while_reading(
    client: httpx.AsyncClient, url: str, live: LiveMode, others: int
) -> None:
    """No message of the new stream is ever returned as one of the old."""
    await append(client, url, messages(3))
    found: list[str] = []

    def until(batches: list) -> bool:
        found[:] = keys(batches)
        return False

    reading = asyncio.create_task(read(client, url, live=live, until=until, silence=2))
    await asyncio.sleep(0.3)
    last = (await read(client, url))[-1]
    await delete(client, url)
    await create(client, url)
    await append(client, url, messages(others, 100))
    with pytest.raises(Exception) as caught:
        await reading
    if not isinstance(caught.value, StreamRecreated):
        with pytest.raises(StreamRecreated):
            await read(client, url, last.position, checkpoint=last.checkpoint, live=live)
    assert found == ["0", "1", "2"]


async def test_a_stream_that_goes_on_is_recognized(client: httpx.AsyncClient, url: str) -> None:
    """A checkpoint taken live, message by message, is valid if the same messages come in one
    answer.
    """
    reading = asyncio.create_task(
        read(client, url, live="sse", until=lambda found: len(keys(found)) == 5)
    )
    for n in range(5):
        await asyncio.sleep(0.05)
        await append(client, url, [message(n, {"b": 1.0, "a": "é"})])
    batches = await reading
    await append(client, url, messages(400, 5))
    for batch in batches:
        rest = await read(client, url, batch.position, checkpoint=batch.checkpoint)
        assert len(keys(rest)) == 405 - batch.position.ordinal


async def test_a_stream_that_is_no_json_is_refused(
    client: httpx.AsyncClient, stream_server: StreamServer
) -> None:
    """Whatever it is instead, the error names it."""
    url = stream_server.stream()
    await create(client, url, content_type="text/plain")
    with pytest.raises(NotJson, match="text/plain"):
        await read(client, url)


async def test_headers_are_asked_for_each_request(client: httpx.AsyncClient, url: str) -> None:
    """So that a token may expire while a stream is followed."""
    asked = 0

    async def headers() -> Mapping[str, str]:
        nonlocal asked
        asked += 1
        return {"Authorization": f"Bearer {asked}", "If-None-Match": "*"}

    await append(client, url, messages(1), headers=headers)
    await read(client, url, live="long-poll", headers=headers, until=lambda found: len(found) == 3)
    assert asked >= 4


async def test_writing(client: httpx.AsyncClient, url: str) -> None:
    """Create, describe, append, close, delete: each reports its result."""
    assert not await create(client, url)
    assert not (await head(client, url)).closed
    offset = await append(client, url, messages(2), seq="a")
    described = await head(client, url)
    assert (described.offset, described.content_type, described.ttl) == (
        offset,
        "application/json",
        None,
    )
    with pytest.raises(StreamConflict):
        await append(client, url, messages(1), seq="a")
    with pytest.raises(StreamConflict):
        await create(client, url, content_type="text/plain")
    assert await close(client, url) == offset
    assert await close(client, url) == offset
    assert (await head(client, url)).closed
    with pytest.raises(StreamClosed):
        await append(client, url, messages(1))
    await delete(client, url)
    with pytest.raises(StreamNotFound):
        await head(client, url)
    assert await create(client, url, closed=True, ttl=60)
    described = await head(client, url)
    assert described.closed
    assert described.ttl == 60
    with pytest.raises(ValueError, match="nothing"):
        await append(client, url, [])


async def test_an_offset_from_elsewhere_is_not_taken_for_the_tail(
    client: httpx.AsyncClient, url: str
) -> None:
    """A server that returns nothing, and another offset, for the one we hold is not believed
    without a checkpoint.
    """
    await append(client, url, messages(3))
    with pytest.raises(StreamRecreated):
        await read(client, url, Position("9999999999999999_9999999999999999", 0, 3))
    assert keys(await read(client, url, START)) == ["0", "1", "2"]
