"""Performs what a read session decides."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager

import httpx

from durable_state.errors import Stalled, TransportError
from durable_state.protocol import Position, mask_query

from .batches import Batch, BatchLimits
from .body import open_body
from .checkpoint import Checkpoint
from .client import Headers, exchange, said
from .request import SILENCE, LiveMode, Mode, Request
from .session import STUCK, ReadSession
from .verification import Verification

__all__ = ["Reader"]


class Reader:
    """Reads one stream from ``position`` on, as bounded batches.

    ``live`` says how to go on at the tail; with None, reading ends there. ``headers`` is awaited
    for each request. ``checkpoint`` is the one of the batch that ``position`` came from, and lets
    the reader notice another stream under the same URL. ``silence`` is the longest that a
    connection may stay without a byte, ``stuck_seconds`` the longest that an answer may go on
    without bringing a message, however many bytes come; both are seconds.
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
        stuck_seconds: float = STUCK,
    ) -> None:
        self._client = client
        self._url = url
        self._headers = headers
        self._stuck_seconds = stuck_seconds
        self._session = ReadSession(
            url,
            position,
            live=live,
            limits=limits,
            checkpoint=checkpoint,
            silence=silence,
            stuck_seconds=stuck_seconds,
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
                    async with open_body(response) as body:
                        while (data := await body.read(session.patience)) is not None:
                            for batch in session.feed(data):
                                if batch is None:
                                    await asyncio.sleep(0)
                                    continue
                                await self._check(batch)
                                yield batch
                            for batch in session.pass_time(time.monotonic()):
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
                began = time.monotonic()
                async with open_body(response) as body:
                    while (data := await body.read(self._stuck_seconds)) is not None:
                        if check.feed(data):
                            break
                        self._limit_time(began)
                    else:
                        check.end()

    def _limit_time(self, began: float) -> None:
        seconds = time.monotonic() - began
        if seconds >= self._stuck_seconds:
            raise Stalled(
                f"{mask_query(self._url)} has been answering for {seconds:.0f} s, and whether it "
                "still serves the stream that was read before cannot be told.",
                "Look at the stream server and the way to it. It is asked again by itself.",
                seconds=seconds,
            )

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
