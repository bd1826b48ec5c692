"""Looks up names in threads of its own, so that a hanging resolver delays no other connection.

asyncio's own look-ups share a few threads, and as many hanging names keep every connection waiting.

Why: decision 57.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterable
from ipaddress import ip_address

import httpcore
from httpcore import SOCKET_OPTION, AsyncNetworkBackend, AsyncNetworkStream

from .socket_stream import connect

__all__ = ["NameLookups"]


class NameLookups(AsyncNetworkBackend):
    """Connects to hosts by name. For one event loop.

    Each name is looked up by one thread, however many connections wait for it. So a name that hangs
    costs one thread, which does not keep the process from ending.
    """

    def __init__(self) -> None:
        self._running: dict[tuple[str, int], asyncio.Future[list[str]]] = {}

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> AsyncNetworkStream:
        """Connects to the first address that answers; all together have ``timeout`` seconds.

        Raises: httpcore.ConnectTimeout, httpcore.ConnectError.
        """
        clock = asyncio.get_running_loop().time
        until = None if timeout is None else clock() + timeout
        addresses = await self._look_up(host, port, timeout)

        failure: Exception = httpcore.ConnectError(f"{host} has no address")
        for number, address in enumerate(addresses):
            left = None if until is None else max(until - clock(), 0) / (len(addresses) - number)
            try:
                return await connect(address, port, left, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure

    async def sleep(self, seconds: float) -> None:
        """Waits between two attempts to connect."""
        await asyncio.sleep(seconds)

    async def _look_up(self, host: str, port: int, seconds: float | None) -> list[str]:
        """The host's addresses. Raises: httpcore.ConnectTimeout, httpcore.ConnectError."""
        with contextlib.suppress(ValueError):
            return [str(ip_address(host))]
        running = self._running.get((host, port))
        if running is None:
            running = self._running[host, port] = self._begin(host, port)
        await asyncio.wait([running], timeout=seconds)
        if not running.done():
            raise httpcore.ConnectTimeout(f"the name {host} was not looked up in time")
        try:
            return running.result()
        except (OSError, UnicodeError) as error:  # the latter for an impossible name
            raise httpcore.ConnectError(f"{host}: {error}") from error

    def _begin(self, host: str, port: int) -> asyncio.Future[list[str]]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[list[str]] = loop.create_future()

        def end(addresses: list[str], error: Exception | None) -> None:
            del self._running[host, port]
            if error is None:
                future.set_result(addresses)
            else:
                future.set_exception(error)
                future.exception()  # nobody may wait for it any more

        def look_up() -> None:
            addresses, error = [], None
            try:
                found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
                addresses = [str(address[0]) for *_, address in found]
            except (OSError, UnicodeError) as raised:
                error = raised
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
                loop.call_soon_threadsafe(end, addresses, error)

        threading.Thread(target=look_up, name="durable-state-names", daemon=True).start()
        return future
