"""An answer that is cut at any byte loses nothing and doubles nothing, however it is coded."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing

import httpx
import pytest

from durable_state.errors import TransportError
from durable_state.protocol import START
from durable_state.transport import BatchLimits, LiveMode, Reader, open_client

from .support.reading import message, messages

GROUPS = [messages(2), [message('\\"},{é')], messages(1, 5)]
KEYS = ["0", "1", '\\"},{é', "5"]
LIMITS = BatchLimits(2, 1_000_000)
JSON = {"content-type": "application/json"}
EVENTS = {"content-type": "text/event-stream"}


class Bytes(httpx.AsyncByteStream):
    """A body that ends early: with an error if a length or chunks were promised, or without."""

    def __init__(self, body: bytes, cut: int | None, *, told: bool) -> None:
        self._body, self._cut, self._told = body, cut, told

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._body[: self._cut]
        if self._cut is not None and self._told:
            raise httpx.RemoteProtocolError("peer closed connection")


class Server:
    """Holds the groups, one after the other, and cuts one answer of the kind under test."""

    def __init__(self, coding: str, live: LiveMode | None, cut: int, *, told: bool) -> None:
        self.coding, self.live, self.told = coding, live, told
        self.cut: int | None = cut
        self.size = 0
        self.is_grown = False  # whether the last two groups, which are to come live, are there

    def __call__(self, request: httpx.Request) -> httpx.Response:
        query = dict(request.url.params)
        start = int(query["offset"].replace("-1", "0"))
        is_live = "live" in query
        self.is_grown = self.is_grown or is_live or self.live is None
        end = 3 if self.is_grown else 1
        offset = {"stream-next-offset": str(end), "stream-up-to-date": "true"}
        if query.get("live") == "sse":
            events = b'event: control\ndata: {"streamNextOffset":"%d"}\n\n' % start
            for number in range(start, end):
                events += b"event: data\ndata: [%b]\n\n" % b",".join(GROUPS[number])
                events += b'event: control\ndata: {"streamNextOffset":"%d"}\n\n' % (number + 1)
            return self._answer(EVENTS, events, is_tried=True)
        body = b"[%b]" % b",".join(item for group in GROUPS[start:end] for item in group)
        return self._answer(JSON | offset, body, is_tried=is_live or self.live is None)

    def _answer(self, headers: dict[str, str], body: bytes, *, is_tried: bool) -> httpx.Response:
        if self.coding:
            headers = headers | {"content-encoding": self.coding}
            body = gzip.compress(body, mtime=0) if self.coding == "gzip" else zlib.compress(body)
        cut, self.size = None, max(self.size, len(body) if is_tried else 0)
        if is_tried:
            cut, self.cut = self.cut, None
        return httpx.Response(200, headers=headers, stream=Bytes(body, cut, told=self.told))


async def read_on(
    server: Callable[[httpx.Request], httpx.Response], live: LiveMode | None
) -> list[str]:
    """The keys of all messages: after each error a new reader continues at the last position."""
    keys: list[str] = []
    position, checkpoint = START, None
    async with open_client(transport=httpx.MockTransport(server)) as client:
        for _ in range(10):
            reader = Reader(
                client, "http://h/s", position, live=live, limits=LIMITS, checkpoint=checkpoint
            )
            try:
                async with aclosing(reader.batches()) as batches:
                    async for batch in batches:
                        keys += [getattr(each, "key", "?") for each in batch.messages]
                        position, checkpoint = batch.position, batch.checkpoint
                        assert position.ordinal == len(keys)
                        if len(keys) >= len(KEYS):
                            return keys
            except TransportError:
                continue
    return keys


@pytest.mark.parametrize("told", [True, False], ids=["told", "silently"])
@pytest.mark.parametrize("coding", ["", "gzip", "deflate"])
@pytest.mark.parametrize("live", [None, "long-poll", "sse"])
async def test_every_byte(coding: str, live: LiveMode | None, told: bool) -> None:
    """By GET, long-poll and events; plain and coded; with an announced end and without."""
    whole = Server(coding, live, 10_000, told=told)
    await read_on(whole, live)
    for cut in range(whole.size):
        assert await read_on(Server(coding, live, cut, told=told), live) == KEYS, cut
