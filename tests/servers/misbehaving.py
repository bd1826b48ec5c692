"""A real HTTP server that does what it is told, however wrong.

    server.reply = lambda asked: Reply(429, {"Retry-After": "7"})

It runs its own event loop in a thread, so that synchronous and asynchronous tests can use it alike.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Literal
from urllib.parse import parse_qsl, urlsplit

__all__ = ["Asked", "MisbehavingServer", "Reply", "StreamReplies", "misbehaving"]


@dataclass(frozen=True)
class Asked:
    """One request."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    target: str
    body: bytes = b""


@dataclass(frozen=True)
class Reply:
    """One answer. ``pieces`` are written one by one with ``pause`` seconds before each.

    ``framing`` says how the body's end is told. ``cut`` closes the connection after so many bytes
    of the body, ``silent`` falls silent there instead, until the client goes; ``reset`` sends
    nothing at all. ``length`` is said to be the body's, whatever it is; ``wait`` are the seconds
    before the head, and ``head_pause`` those before each byte of it.
    """

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    pieces: tuple[bytes, ...] = ()
    framing: Literal["length", "chunked", "close"] = "length"
    pause: float = 0.0
    cut: int | None = None
    silent: bool = False
    reset: bool = False
    length: int | str | None = None
    wait: float = 0.0
    head_pause: float = 0.0


class MisbehavingServer:
    """Answers each request with what ``reply`` returns for it, and records it in ``asked``.

    HEAD is separate, because it is sent now and then beside the requests that a test is about: it
    is answered with ``head``, and recorded in ``heads``.
    """

    def __init__(self) -> None:
        self.url = ""
        self.asked: list[Asked] = []
        self.heads: list[Asked] = []
        self.head = Reply(404)
        self.reply: Callable[[Asked], Reply] = lambda asked: Reply(404)
        self.bytes_sent = 0
        self.connections = 0
        self._writers: set[asyncio.StreamWriter] = set()

    def replies(self, *replies: Reply) -> None:
        """Gives these replies, one after the other, and repeats the last one for ever."""
        left = list(replies)
        self.reply = lambda asked: left.pop(0) if len(left) > 1 else left[0]

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Takes one connection. It is known from now on, whether or not its task ever runs."""
        self._writers.add(writer)
        self.connections += 1
        asyncio.ensure_future(self._serve(reader, writer)).add_done_callback(
            lambda _: self._writers.discard(writer)
        )

    def abort(self) -> None:
        """Closes all connections at once."""
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                asked = self._parse(head)
                if length := int(asked.headers.get("content-length", 0)):
                    asked = replace(asked, body=await reader.readexactly(length))
                (self.heads if asked.method == "HEAD" else self.asked).append(asked)
                if not await self._answer(asked, writer, reader):
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        except asyncio.CancelledError:  # the test is over; nobody waits for unsent bytes
            writer.transport.abort()
        finally:  # also if the test's own reply raises
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    def _parse(self, head: bytes) -> Asked:
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ")
        parts = urlsplit(target)
        headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines if line)
        }
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        return Asked(method, parts.path, query, headers, target)

    async def _answer(
        self, asked: Asked, writer: asyncio.StreamWriter, reader: asyncio.StreamReader
    ) -> bool:
        reply = self.head if asked.method == "HEAD" else self.reply(asked)
        await asyncio.sleep(reply.wait)
        if reply.reset:
            return False
        headers = dict(reply.headers)
        if reply.framing == "length":
            said = sum(map(len, reply.pieces)) if reply.length is None else reply.length
            headers["Content-Length"] = str(said)
        elif reply.framing == "chunked":
            headers["Transfer-Encoding"] = "chunked"
        else:
            headers["Connection"] = "close"
        lines = [
            f"HTTP/1.1 {reply.status} Whatever",
            *(f"{name}: {value}" for name, value in headers.items()),
            "",
            "",
        ]
        head = "\r\n".join(lines).encode("latin-1")
        for n in range(len(head) if reply.head_pause else 0):
            await asyncio.sleep(reply.head_pause)
            writer.write(head[n : n + 1])
        if not reply.head_pause:
            writer.write(head)
        left = reply.cut
        for piece in reply.pieces:
            await writer.drain()
            await asyncio.sleep(reply.pause)
            part = piece if left is None else piece[:left]
            if part:
                writer.write(
                    b"%x\r\n%b\r\n" % (len(part), part) if reply.framing == "chunked" else part
                )
                self.bytes_sent += len(part)
            if left is not None:
                left -= len(part)
                if not left:
                    break
        await writer.drain()
        if reply.silent:
            await reader.read()
            return False
        if left is not None:
            return False
        if reply.framing == "chunked":
            writer.write(b"0\r\n\r\n")
        await writer.drain()
        return reply.framing != "close"


@dataclass
class StreamReplies:
    """A well-behaved stream to start from: groups of messages, each after an offset that needs URL
    encoding.

    Tests call it for a reply and then spoil that.
    """

    groups: list[list[bytes]]
    closed: bool = False
    page: int = 1_000
    name: str = "o"

    def offset(self, index: int) -> str:
        """The offset before group ``index``."""
        return f"{self.name} {index:03}+%:~é"

    def index(self, offset: str) -> int:
        """The group that follows ``offset``."""
        return 0 if offset == "-1" else int(offset.split(" ")[1][:3])

    def __call__(self, asked: Asked) -> Reply:
        start = self.index(asked.query["offset"])
        end = min(start + self.page, len(self.groups))
        headers = {
            "Content-Type": "application/json",
            "Stream-Next-Offset": self.offset(max(start, end)).encode().decode("latin-1"),
        }
        if end >= len(self.groups):
            headers["Stream-Up-To-Date"] = "true"
            if self.closed:
                headers["Stream-Closed"] = "true"
        body = b"[%b]" % b",".join(message for group in self.groups[start:end] for message in group)
        return Reply(200, headers, (body,))


@contextmanager
def misbehaving() -> Iterator[MisbehavingServer]:
    """Runs one on a free port."""
    server = MisbehavingServer()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="misbehaving", daemon=True)
    thread.start()

    async def start() -> asyncio.Server:
        return await asyncio.start_server(server.accept, "127.0.0.1", 0)

    async def stop(listening: asyncio.Server) -> None:
        listening.close()
        await asyncio.sleep(0.02)  # a connection that was accepted at this moment reaches `accept`
        server.abort()
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await asyncio.sleep(0)  # transports close their sockets one turn later

    listening = asyncio.run_coroutine_threadsafe(start(), loop).result(5)
    server.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    try:
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(stop(listening), loop).result(5)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)
        loop.close()
