"""A stream server on which nothing happens: any number of streams, all of them empty."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress

__all__ = ["quiet_server"]

POLL_SECONDS = 30.0
"""How long a long-poll waits, as on the reference server."""
_HEAD = "Stream-Next-Offset: 0\r\nStream-Up-To-Date: true\r\nStream-Cursor: 1\r\n"
_NOTHING = (
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n" + _HEAD + "\r\n[]"
).encode()
_STILL_NOTHING = ("HTTP/1.1 204 No Content\r\n" + _HEAD + "\r\n").encode()


@contextmanager
def quiet_server() -> Iterator[str]:
    """Runs the server and yields its URL; each path below is a stream.

    Spec: PROTOCOL.md 5.6 (catch-up), 5.7 (long-poll).
    """
    ready: Future[str] = Future()
    leaving = asyncio.Event()

    async def serve() -> None:
        server = await asyncio.start_server(_answer, "127.0.0.1", 0, backlog=1024)
        loops.append(asyncio.get_running_loop())
        ready.set_result(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        await leaving.wait()
        server.close()

    loops: list[asyncio.AbstractEventLoop] = []
    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        yield ready.result(10)
    finally:
        loops[0].call_soon_threadsafe(leaving.set)
        thread.join()


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    # A killed client reads no more; and at the very end, nobody waits.
    with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
        while True:
            request = await reader.readuntil(b"\r\n\r\n")
            if b"live=" in request.split(b"\r\n", 1)[0]:
                await asyncio.sleep(POLL_SECONDS)
                writer.write(_STILL_NOTHING)
            else:
                writer.write(_NOTHING)
            await writer.drain()
    writer.close()
