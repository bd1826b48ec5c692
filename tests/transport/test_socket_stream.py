"""One connection's bytes: all of them, in order, with bounded memory."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from durable_state.transport.socket_stream import HELD, SocketStream, connect

from .support.certificates import write_certificate

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

PIECE = 64 * 1024
RECEIVED = 768 * 1024
"""The most bytes that asyncio delivers at once; under TLS, what it has not decrypted yet."""


@pytest.fixture(params=["plain", "tls"])
def certificate(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    """The server's; None for a server without TLS."""
    if request.param == "plain":
        return None
    return write_certificate(tmp_path, "localhost", datetime.now(UTC) + timedelta(days=1))


@asynccontextmanager
async def connected(certificate: Path | None, serve: Serve) -> AsyncIterator[SocketStream]:
    """A connection to a server with this handler."""
    theirs = None
    if certificate is not None:
        theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        theirs.load_cert_chain(certificate)
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=theirs)
    async with server:
        port = server.sockets[0].getsockname()[1]
        stream = await connect("127.0.0.1", port, 5, None, None)
        if certificate is not None:
            ours = ssl.create_default_context(cafile=str(certificate))
            await stream.start_tls(ours, "localhost", 5)
        try:
            yield stream
        finally:
            await stream.aclose()


async def read_all(stream: SocketStream, pause: float = 0) -> int:
    """Reads to the end and returns the number of bytes; asserts that few are held meanwhile."""
    total = 0
    while data := await stream.read(PIECE, 5):
        total += len(data)
        assert len(stream._ends.held) <= HELD + RECEIVED
        await asyncio.sleep(pause)
    return total


async def test_a_flood_is_held_back(certificate: Path | None) -> None:
    """The server waits for the reader, who gets each byte."""
    sent = 0

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        for _ in range(500):
            writer.write(b"x" * 100_000)
            await writer.drain()
            sent += 100_000
        writer.close()

    async with connected(certificate, flood) as stream:
        await asyncio.sleep(0.5)
        assert len(stream._ends.held) <= HELD + RECEIVED
        assert sent < 25_000_000  # the system's own buffers hold some
        assert await read_all(stream) == 50_000_000


async def test_what_came_before_the_end_is_read(certificate: Path | None) -> None:
    """However much later: the server has ended its side, and no longer keeps the connection."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(2)
        writer.write(b"y" * 3_000_000)
        if writer.can_write_eof():
            writer.write_eof()
            with contextlib.suppress(ConnectionError):
                await reader.read()
        writer.close()

    async with connected(certificate, answer) as stream:
        await stream.write(b"hi", 5)
        await asyncio.sleep(0.3)
        assert await read_all(stream, 0.002) == 3_000_000
        assert await stream.read(PIECE, 5) == b""


async def test_a_read_that_is_cancelled_takes_nothing(certificate: Path | None) -> None:
    """The next one gets everything that has arrived since."""
    go_on = asyncio.Event()

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await go_on.wait()
        writer.write(b"late")
        writer.close()

    async with connected(certificate, answer) as stream:
        reading = asyncio.create_task(stream.read(PIECE, 5))
        await asyncio.sleep(0.05)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        assert reading.cancelled()
        go_on.set()
        assert await read_all(stream) == 4
