"""Reads and writes the bytes of one connection, directly by asyncio.

httpcore's own stream goes through anyio, which stops reading after each piece and starts again for
the next one, by two calls to the system and with a cancel scope. That took a tenth of the event
loop's time for an event.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import httpcore
from httpcore import SOCKET_OPTION, AsyncNetworkStream

__all__ = ["SocketStream", "connect"]

HELD = 128 * 1024
"""How many unread bytes are held before reading from the socket pauses."""


class _Ends(asyncio.Protocol):
    """What a connection has received and nobody has read yet, and whether more may be sent."""

    def __init__(self) -> None:
        self.transport: Any = None
        self.held = bytearray()
        self.is_over = False
        """Whether nothing more will arrive."""

        self.error: Exception | None = None
        """Why, unless the connection ended in order."""

        self.can_send = asyncio.Event()
        self.can_send.set()
        self._reader: asyncio.Future[None] | None = None
        self._is_paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.held += data
        if len(self.held) > HELD and not self._is_paused:
            self._is_paused = True
            self.transport.pause_reading()
        self._wake_reader()

    def eof_received(self) -> None:
        self.is_over = True
        self._wake_reader()

    def connection_lost(self, error: Exception | None) -> None:
        self.is_over = True
        self.error = self.error or error
        self.can_send.set()
        self._wake_reader()

    def pause_writing(self) -> None:
        self.can_send.clear()

    def resume_writing(self) -> None:
        self.can_send.set()

    async def until_readable(self) -> None:
        """Returns once there are unread bytes, or none will come any more."""
        while not self.held and not self.is_over:
            self._reader = asyncio.get_running_loop().create_future()
            try:
                await self._reader
            finally:
                self._reader = None

    def take(self, most: int) -> bytes:
        """Removes and returns the oldest unread bytes."""
        data = bytes(self.held[:most])
        del self.held[:most]
        if self._is_paused and len(self.held) <= HELD:
            self._is_paused = False
            self.transport.resume_reading()
        return data

    def _wake_reader(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)


class SocketStream(AsyncNetworkStream):
    """One connection, for one reader and one writer at a time."""

    def __init__(self, ends: _Ends) -> None:
        self._ends = ends

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """The next bytes; empty at the end. Raises: httpcore.ReadTimeout, httpcore.ReadError."""
        ends = self._ends
        if not ends.held:
            try:
                async with asyncio.timeout(timeout):
                    await ends.until_readable()
            except TimeoutError as error:
                raise httpcore.ReadTimeout(f"nothing came in {timeout} s") from error
        data = ends.take(max_bytes)
        if not data and ends.error is not None:
            raise httpcore.ReadError(str(ends.error)) from ends.error
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Sends the bytes, and waits while the connection takes no more.

        Raises: httpcore.WriteTimeout, httpcore.WriteError.
        """
        ends = self._ends
        if not ends.transport.is_closing():
            ends.transport.write(buffer)
            if not ends.can_send.is_set():
                try:
                    async with asyncio.timeout(timeout):
                        await ends.can_send.wait()
                except TimeoutError as error:
                    raise httpcore.WriteTimeout(f"nothing was taken in {timeout} s") from error
        if ends.transport.is_closing():
            raise httpcore.WriteError("the connection has ended") from ends.error

    async def aclose(self) -> None:
        """Closes the connection; bytes that were not sent are dropped."""
        self._ends.transport.abort()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> AsyncNetworkStream:
        """Continues with TLS. Raises: httpcore.ConnectTimeout, httpcore.ConnectError."""
        ends = self._ends
        try:
            async with _connecting(timeout):
                ends.transport = await asyncio.get_running_loop().start_tls(
                    ends.transport, ends, ssl_context, server_hostname=server_hostname
                )
        except BaseException:
            await self.aclose()
            raise
        return self

    def get_extra_info(self, info: str) -> Any:
        """What httpcore asks for, by httpcore's names."""
        if info == "is_readable":
            return bool(self._ends.held) or self._ends.is_over
        return self._ends.transport.get_extra_info(_NAMES.get(info, info))


_NAMES = {"client_addr": "sockname", "server_addr": "peername"}


async def connect(
    address: str,
    port: int,
    timeout: float | None,
    local_address: str | None,
    socket_options: Iterable[SOCKET_OPTION] | None,
) -> SocketStream:
    """Connects to an IP address, not to a name.

    Raises: httpcore.ConnectTimeout, httpcore.ConnectError.
    """
    local = None if local_address is None else (local_address, 0)
    async with _connecting(timeout):
        transport, ends = await asyncio.get_running_loop().create_connection(
            _Ends, address, port, local_addr=local
        )
        for option in socket_options or ():
            transport.get_extra_info("socket").setsockopt(*option)
    return SocketStream(ends)


@asynccontextmanager
async def _connecting(seconds: float | None) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise httpcore.ConnectTimeout(str(error)) from error
    except OSError as error:  # an ssl.SSLError is one
        raise httpcore.ConnectError(str(error)) from error
