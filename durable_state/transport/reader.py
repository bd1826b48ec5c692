"""Performs what a read session decides."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager

import httpx

from durable_state.errors import TransportError
from durable_state.protocol import Position

from .batches import Batch, BatchLimits
from .checkpoint import Checkpoint
from .client import Headers, exchange, said
from .request import SILENCE, LiveMode, Mode, Request
from .session import ReadSession
from .verification import Verification

__all__ = ["Reader"]


class Reader:
    """Reads one stream from ``position`` on, as bounded batches.

    ``live`` says how to go on at the tail; with None, reading ends there. ``headers`` is awaited for each request. ``checkpoint`` is the one of
    the batch that ``position`` came from, and lets the reader notice another stream under the same URL. ``silence`` is the longest that a
    connection may stay without a byte, in seconds.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        url: str,
        position: Position,
        *,
        live: LiveMode | None,
        limits: BatchLimits,
        headers: Headers | None = None,
        checkpoint: Checkpoint | None = None,
        silence: float = SILENCE,
    ) -> None:
        self._client = client
        self._headers = headers
        self._session = ReadSession(
            url, position, live=live, limits=limits, checkpoint=checkpoint, silence=silence
        )

    async def batches(self) -> AsyncGenerator[Batch, None]:
        """Batches in stream order, for ever while live; ends once the stream is closed, or at the tail without ``live``.

        Reads on only as far as batches are taken. A live connection that its server ends is opened again; any other trouble is raised, after
        the messages that came before it. No failure is retried here: go on with a new reader at the last position that was committed.
        Close the generator (``contextlib.aclosing``) to give its connection back at once.
        Raises: TransportError.
        """
        session = self._session
        if check := session.opening():
            await self._verify(check)
        while request := session.next_request():
            started = time.monotonic()
            async with self._ask(request) as response:
                session.begin(response.status_code, response.headers, await said(response))
                try:
                    async for data in response.aiter_bytes():
                        for batch in session.feed(data):
                            await self._check(batch)
                            yield batch
                        if session.enough:
                            break
                except (httpx.HTTPError, TransportError) as error:
                    # Proxies end an event stream in the middle of a chunk; what no control event confirmed comes again.
                    if request.mode is not Mode.SSE or not isinstance(
                        error, httpx.RemoteProtocolError
                    ):
                        for batch in session.cut():
                            await self._check(batch)
                            yield batch
                        raise
                for batch in session.end(time.monotonic() - started):
                    await self._check(batch)
                    yield batch

    async def _check(self, batch: Batch) -> None:
        if check := self._session.verification(batch):
            await self._verify(check)
            self._session.confirm(batch)

    async def _verify(self, check: Verification) -> None:
        while request := check.next_request():
            async with self._ask(request) as response:
                check.begin(response.status_code, response.headers, await said(response))
                if check.settled:
                    return
                async for data in response.aiter_bytes():
                    if check.feed(data):
                        break
                else:
                    check.end()

    def _ask(self, request: Request) -> AbstractAsyncContextManager[httpx.Response]:
        return exchange(
            self._client,
            "GET",
            request.url,
            request.headers,
            headers=self._headers,
            stream=request.stream,
            silence=request.silence,
        )
