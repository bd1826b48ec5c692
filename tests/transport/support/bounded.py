"""Reads one hostile answer in a process of its own, and prints how that process fared.

    python -m tests.transport.support.bounded spaces

prints one line of JSON: ``error``, the error's class and text; ``grown``, bytes by which the
process grew while it read; ``stalled``, the longest time, in seconds, for which another task of the
same event loop got no turn; ``read``, the number of messages; and ``asked``, the number of
requests.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import resource
import sys
import time
import zlib
from collections.abc import Callable
from contextlib import aclosing

from durable_state.errors import TransportError
from durable_state.protocol import START
from durable_state.transport import BatchLimits, LiveMode, Reader, open_client
from tests.servers.misbehaving import Asked, Reply, misbehaving

from .reading import message

MEGABYTE = 1024 * 1024
JSON = {"Content-Type": "application/json", "Stream-Next-Offset": "a", "Stream-Up-To-Date": "true"}
EVENTS = {"Content-Type": "text/event-stream"}
FIRST = message("first")


def gzipped(*parts: bytes) -> bytes:
    """All of them, in one gzip."""
    packer = zlib.compressobj(1, wbits=zlib.MAX_WBITS | 16)
    return b"".join([*map(packer.compress, parts), packer.flush()])


def deflated(*parts: bytes) -> bytes:
    """Bare deflate, without zlib's header."""
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return b"".join([*map(packer.compress, parts), packer.flush()])


def get(*pieces: bytes, coding: str = "") -> Callable[[Asked], Reply]:
    """The answer to a plain GET."""
    headers = JSON | ({"Content-Encoding": coding} if coding else {})
    return lambda asked: Reply(200, headers, pieces, framing="chunked")


def live(*parts: bytes) -> Callable[[Asked], Reply]:
    """The gzipped answer to an SSE request at the tail of an empty stream, which is closed then."""
    headers = EVENTS | {"Content-Encoding": "gzip"}
    events = Reply(200, headers, (gzipped(*parts),), framing="chunked")
    asked_live = False

    def reply(asked: Asked) -> Reply:
        nonlocal asked_live
        if "live" in asked.query:
            asked_live = True
            return events
        closed = {"Stream-Closed": "true"} if asked_live else {}
        offset = asked.query["offset"].replace("-1", "a")
        return Reply(200, JSON | closed | {"Stream-Next-Offset": offset}, (b"[]",))

    return reply


SPACES = b" " * 4 * MEGABYTE
TEXT = b"x" * 4 * MEGABYTE
OPENED = b'[%b,{"type":"t","key":"k","headers":{"operation":"insert"},"value":' % FIRST
CONTROL = b'event: control\ndata: {"streamNextOffset": "b", "streamClosed": true}\n\n'

CASES: dict[str, Callable[[], Callable[[Asked], Reply]]] = {
    "spaces": lambda: get(gzipped(b"[" + FIRST, *[SPACES] * 30, b"]"), coding="gzip"),
    "spaces-before": lambda: get(gzipped(*[SPACES] * 30, b"[%b]" % FIRST), coding="gzip"),
    "spaces-behind": lambda: get(gzipped(b"[%b]" % FIRST, *[SPACES] * 30), coding="x-gzip"),
    "spaces-deflated": lambda: get(
        deflated(b"[%b," % FIRST, *[SPACES] * 30, FIRST, b"]"), coding="deflate"
    ),
    "spaces-in-an-item": lambda: get(gzipped(OPENED, *[SPACES] * 30), coding="gzip"),
    "text-zipped": lambda: get(gzipped(OPENED + b'"', *[TEXT] * 30), coding="gzip"),
    "text": lambda: get(OPENED + b'"', *[b"x" * MEGABYTE] * 120),
    "zipped-twice": lambda: get(gzip.compress(gzipped(*[SPACES] * 30)), coding="gzip, gzip"),
    "refusal": lambda: (
        lambda asked: Reply(
            500, {"Content-Encoding": "gzip"}, (gzipped(b"no", *[SPACES] * 30),), framing="chunked"
        )
    ),
    "small-items": lambda: get(gzipped(b"[1", *[b",1" * 50_000] * 4, b"]"), coding="gzip"),
    "event-small-items": lambda: live(
        b"event: data\ndata: [1", *[b",1" * 50_000] * 4, b"]\n\n" + CONTROL
    ),
    "event-line": lambda: live(b"event: data\ndata: ", *[TEXT] * 30),
    "event-name": lambda: live(b"event: ", *[TEXT] * 30),
    "event-lines": lambda: live(b"event: data\n", *[b"data: x\n" * 100_000] * 60),
    "event-empty": lambda: live(*[b"event: data\ndata:\n\n" * 100_000] * 30),
    "event-comments": lambda: live(
        *[b": " + b"x" * 1_000 + b"\n"] * 3_000,
        *[b":\n\n" * 100_000] * 3,
        CONTROL.replace(b'"b"', b'"a"'),
    ),
}


async def watch(longest: list[float]) -> None:
    """Another task of the event loop."""
    while True:
        before = time.monotonic()
        await asyncio.sleep(0.01)
        longest[0] = max(longest[0], time.monotonic() - before - 0.01)


async def read(url: str, seconds: float) -> tuple[int, str]:
    """How many messages came before the end, or the error."""
    count, error = 0, ""
    async with open_client(trust_env=False) as client:
        mode: LiveMode | None = "sse" if sys.argv[1].startswith("event") else None
        reader = Reader(client, url, START, live=mode, limits=BatchLimits(5_000, 8 * MEGABYTE))
        try:
            async with asyncio.timeout(seconds), aclosing(reader.batches()) as batches:
                async for batch in batches:
                    count += len(batch.messages)
        except TransportError as found:
            error = f"{type(found).__name__}: {found}"
        except TimeoutError:
            error = "still reading"
    return count, error


async def main() -> None:
    """Reads the case named on the command line."""
    with misbehaving() as server:
        server.reply = CASES[sys.argv[1]]()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        longest = [0.0]
        watching = asyncio.create_task(watch(longest))
        count, error = await read(server.url, 100)
        watching.cancel()
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
        asked = [request.query.get("live") for request in server.asked]
    print(
        json.dumps(
            {"error": error, "grown": grown, "stalled": longest[0], "read": count, "asked": asked}
        )
    )


if __name__ == "__main__":
    asyncio.run(main())
