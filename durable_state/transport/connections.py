"""Connections to stream servers: one per request under way, and idle ones to be reused.

httpx's own pool goes through all its connections for each request and each answer, which is most of
the cost of a thousand waiting streams.

Why: decision 57.
"""

from __future__ import annotations

import ssl
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import httpcore
import httpx

from .environment import find_fault
from .name_lookups import NameLookups

__all__ = ["Connections"]

MOST_IDLE = 100
"""How many idle connections are kept per origin."""
IDLE_SECONDS = 30.0
"""How long they are kept, in seconds."""

_ENDED = (httpcore.RemoteProtocolError, httpcore.ReadError, httpcore.WriteError)


class Connections(httpx.AsyncBaseTransport):
    """Sends each request over a connection that no other request uses. For one event loop.

    Waiting streams hold a connection each, so the number of connections in use is not limited.
    """

    def __init__(self, *, trust_env: bool = True) -> None:
        """With ``trust_env``, the environment's certificates (``SSL_CERT_FILE``) count."""
        self._trust_env = trust_env
        self._network = NameLookups()
        self._idle: dict[str, deque[httpcore.AsyncHTTPConnection]] = {}  # the newest last
        self._open: set[httpcore.AsyncHTTPConnection] = set()  # in use, or idle
        self._tls: ssl.SSLContext | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Sends the request, and returns the answer with its body unread.

        Raises: httpx.HTTPError; ConfigurationError, if SSL_CERT_FILE cannot be used.
        """
        if request.url.scheme not in ("http", "https"):
            raise httpx.UnsupportedProtocol(f"{request.url.scheme or 'no scheme'} is not supported")
        url = httpcore.URL(
            scheme=request.url.raw_scheme,
            host=request.url.raw_host,
            port=request.url.port,
            target=request.url.raw_path,
        )
        sent = httpcore.Request(
            request.method,
            url,
            headers=request.headers.raw,
            content=request.stream,
            extensions=request.extensions,
        )
        with _as_httpx_says():
            idle = self._take_idle(url.origin)
            if idle is not None:
                try:
                    return await self._send(sent, idle)
                except _ENDED:
                    # The server may have closed it just as the request was sent: that is no
                    # failure, and a request that only reads may be repeated.
                    # Spec: RFC 9110, 9.2.2.
                    if request.method not in ("GET", "HEAD"):
                        raise
            return await self._send(sent, self._begin(url.origin))

    async def _send(
        self, request: httpcore.Request, connection: httpcore.AsyncHTTPConnection
    ) -> httpx.Response:
        try:
            answer = await connection.handle_async_request(request)
        except BaseException:
            await self._close(connection)
            raise
        return httpx.Response(
            answer.status,
            headers=answer.headers,
            stream=_Body(answer, self, str(request.url.origin), connection),
            extensions=answer.extensions,
        )

    async def give_back(self, origin: str, connection: httpcore.AsyncHTTPConnection) -> None:
        """Keeps the connection for reuse if its answer was read to the end, or closes it."""
        if not connection.is_available() or connection not in self._open:
            await self._close(connection)
            return
        idle = self._idle.setdefault(origin, deque())
        idle.append(connection)
        # Only the oldest is checked for expiry, because each check is a call to the system.
        while len(idle) > MOST_IDLE or (len(idle) > 1 and idle[0].has_expired()):
            await self._close(idle.popleft())

    async def aclose(self) -> None:
        """Closes all connections, even those in use."""
        self._idle.clear()
        while self._open:
            await self._open.pop().aclose()

    async def _close(self, connection: httpcore.AsyncHTTPConnection) -> None:
        self._open.discard(connection)
        await connection.aclose()

    def _take_idle(self, origin: httpcore.Origin) -> httpcore.AsyncHTTPConnection | None:
        idle = self._idle.get(str(origin))
        return idle.pop() if idle and not idle[-1].has_expired() else None

    def _begin(self, origin: httpcore.Origin) -> httpcore.AsyncHTTPConnection:
        connection = httpcore.AsyncHTTPConnection(
            origin,
            ssl_context=self._trusted() if origin.scheme == b"https" else None,
            keepalive_expiry=IDLE_SECONDS,
            network_backend=self._network,
        )
        self._open.add(connection)
        return connection

    def _trusted(self) -> ssl.SSLContext:
        """The TLS context; made on first use, because that reads hundreds of certificates."""
        if self._tls is None:
            try:
                self._tls = httpx.create_ssl_context(trust_env=self._trust_env)
            except (OSError, ValueError) as error:
                raise find_fault(error).refusal() from error
        return self._tls


class _Body(httpx.AsyncByteStream):
    """The body of an answer; closing it gives its connection back."""

    def __init__(
        self,
        answer: httpcore.Response,
        connections: Connections,
        origin: str,
        connection: httpcore.AsyncHTTPConnection,
    ) -> None:
        self._stream: Any = answer.stream
        self._connections = connections
        self._origin = origin
        self._connection = connection

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _as_httpx_says():
            async for piece in self._stream:
                yield piece

    async def aclose(self) -> None:
        await self._stream.aclose()
        await self._connections.give_back(self._origin, self._connection)


@contextmanager
def _as_httpx_says() -> Iterator[None]:
    """Raises httpx's error of the same name for each of httpcore's."""
    try:
        yield
    except (
        httpcore.TimeoutException,
        httpcore.NetworkError,
        httpcore.ProtocolError,
        httpcore.UnsupportedProtocol,
    ) as error:
        raise getattr(httpx, type(error).__name__)(str(error)) from error
