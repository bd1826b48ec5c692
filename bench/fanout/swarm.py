"""Many websocket clients in a process of their own, which notes what arrives when.

``python -m bench.fanout.swarm HOST PORT PATH COUNT ADDRESS``, from that address. Says ``ready``,
then answers questions on its standard input, one a line, as JSON: ``count``, how many changes have
arrived; ``frames``, in how many frames; ``all``, when (nanoseconds of the monotonic clock) each
entity did, once for each client.

As little of a client as there can be, so that it keeps up: no compression, and of a frame's text
only the keys are looked at.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
import time
from collections import defaultdict

from bench.processes import allow_many_files

__all__: list[str] = []

KEY = b'"key":"'
AT_ONCE = 20
"""Sockets that are being opened."""
OPEN_SECONDS = 30.0
"""The most seconds until one is open."""
FRAMES = [0]
"""How many frames brought something."""


class Socket(asyncio.Protocol):
    """One client."""

    def __init__(self, host: str, path: str, arrivals: dict[str, list[int]]) -> None:
        self.opened = asyncio.get_running_loop().create_future()
        self._request = (
            f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}\r\n\r\n"
        )
        self._arrivals = arrivals
        self._unread = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Requests the websocket."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(self._request.encode())

    def data_received(self, data: bytes) -> None:
        """Takes frames, wherever they were cut."""
        data = self._unread + data
        if not self.opened.done():
            head, end, data = data.partition(b"\r\n\r\n")
            if not end:
                self._unread = head
                return
            if b" 101 " not in head:
                self.opened.set_exception(RuntimeError(head.decode()))
                return
            self.opened.set_result(None)
        start = 0
        while (end_of := self._frame(data, start)) is not None:
            start = end_of
        self._unread = data[start:]

    def connection_lost(self, error: Exception | None) -> None:
        """Wakes whoever waits."""
        if not self.opened.done():
            self.opened.set_exception(error or RuntimeError("closed"))

    def _frame(self, data: bytes, start: int) -> int | None:
        """Takes the frame that begins there, if it is complete; returns where it ends."""
        if len(data) < start + 2:
            return None
        size, begins = data[start + 1], start + 2
        if size >= 126:
            begins += 2 if size == 126 else 8
            size = int.from_bytes(data[start + 2 : begins])
        ends = begins + size
        if len(data) < ends or len(data) < begins:
            return None
        match data[start] & 15:
            case 1:
                self._text(data, begins, ends)
            case 9:  # a ping, answered with the mask 0
                self._transport.write(bytes([0x8A, 0x80 | size, 0, 0, 0, 0]) + data[begins:ends])
        return ends

    def _text(self, data: bytes, begins: int, ends: int) -> None:
        now, found = time.monotonic_ns(), data.find(KEY, begins, ends)
        if found >= 0:
            FRAMES[0] += 1
        while found >= 0:
            begins = found + len(KEY)
            self._arrivals[data[begins : data.index(b'"', begins)].decode()].append(now)
            found = data.find(KEY, begins, ends)


async def swarm(host: str, port: int, path: str, count: int, address: str) -> None:
    """Opens the sockets, and answers until nobody asks any more."""
    loop = asyncio.get_running_loop()
    arrivals: dict[str, list[int]] = defaultdict(list)
    free = asyncio.Semaphore(AT_ONCE)

    async def open_one() -> None:
        async with free:
            _, socket = await loop.create_connection(
                lambda: Socket(host, path, arrivals), host, port, local_addr=(address, 0)
            )
            await asyncio.wait_for(socket.opened, OPEN_SECONDS)

    await asyncio.gather(*(open_one() for _ in range(count)))

    print("ready", flush=True)
    while question := await loop.run_in_executor(None, sys.stdin.readline):
        match question.strip():
            case "count":
                answer: object = sum(map(len, arrivals.values()))
            case "frames":
                answer = FRAMES[0]
            case _:
                answer = arrivals
        print(json.dumps(answer), flush=True)
    os._exit(0)


if __name__ == "__main__":
    allow_many_files()
    asyncio.run(swarm(sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4]), sys.argv[5]))
