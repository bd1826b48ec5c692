"""Carries out what a read session decides."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import AbstractAsyncContextManager, aclosing

import httpx

from durable_state.errors import (
    ProtocolViolation,
    RequestRefused,
    Silent,
    Stalled,
    StreamGone,
    StreamRecreated,
    TransportError,
    Unavailable,
)
from durable_state.protocol import Position, mask_query

from .backoff import delay
from .batches import MESSAGE_BYTES, Batch, BatchLimits
from .body import open_body
from .checkpoint import Checkpoint
from .client import AskHeaders, exchange, said
from .following import Following
from .recognition import Recognition, SuspectedRecreation, recreated
from .request import LiveMode, Mode, Request
from .session import STUCK, ReadSession

__all__ = ["Reader", "Rereader"]

REREAD_BYTES_PER_SECOND = 4 * 1024 * 1024
"""How fast a stream is read again for comparison, so that ordinary readers keep their speed."""


_CUT = (httpx.RemoteProtocolError, httpx.ReadError)


class Rereader:
    """Checks whether a URL still serves the stream that was read before."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        url: str,
        *,
        headers: AskHeaders | None = None,
        silence: float | None = None,
        message_bytes: int = MESSAGE_BYTES,
        stuck_seconds: float = STUCK,
    ) -> None:
        self._client = client
        self._url = url
        self._headers = headers
        self._silence = silence
        self._message_bytes = message_bytes
        self._stuck_seconds = stuck_seconds

    async def look(self, checkpoint: Checkpoint, *, deep: bool = False) -> None:
        """Reads again, at a limited pace, what lies just before the checkpoint, or as much as the
        marks allow if ``deep``.

        Raises: StreamRecreated, if it is another stream; TransportError.
        """
        mark = checkpoint.deep() if deep else checkpoint.near()
        if mark is not None:
            check = Recognition(
                self._url,
                mark,
                checkpoint,
                silence=self._silence,
                message_bytes=self._message_bytes,
            )
            await self.recognize(check, pace=REREAD_BYTES_PER_SECOND)

    async def recognize(self, check: Recognition, *, pace: float | None = None) -> Recognition:
        """Carries out the check; returns the one that passed.

        An answer that speaks of another stream is only believed if it comes again past any cache.
        Raises: StreamRecreated; TransportError.
        """
        try:
            await self._perform(check, pace)
        except StreamRecreated as error:
            check = check.again()
            try:
                await self._perform(check, pace)
            except RequestRefused:  # the server takes no cursor in a plain GET
                raise error from None
        return check

    def ask(self, request: Request) -> AbstractAsyncContextManager[httpx.Response]:
        """Sends one request."""
        return exchange(
            self._client,
            "GET",
            request.url,
            request.headers,
            headers=self._headers,
            stream=request.stream,
            silence=request.silence,
            head_silence=request.head_silence,
        )

    async def _perform(self, check: Recognition, pace: float | None) -> None:
        """Carries out the check. A failed request is made again, unless the one before failed too:
        what was compared so far need not be read anew.
        """
        brought_at, has_moved = time.monotonic(), False
        while request := check.next_request():
            await asyncio.sleep(request.pause)
            try:
                await self._compare(check, request, pace)
            except Unavailable as error:
                if not has_moved or error.retry_after or isinstance(error, Stalled):
                    raise
                has_moved = False
                check.drop_answer()
                await asyncio.sleep(delay(1))
                continue
            has_moved = True
            if not check.is_empty:
                brought_at = time.monotonic()
            self._limit_time(brought_at)

    async def _compare(self, check: Recognition, request: Request, pace: float | None) -> None:
        """Compares one answer."""
        began, taken = time.monotonic(), 0
        async with self.ask(request) as response:
            check.begin(response.status_code, response.headers, await said(response))
            if check.settled:
                return
            async with open_body(response) as body:
                while (data := await body.read(self._stuck_seconds)) is not None:
                    if check.feed(data):
                        break
                    taken += len(data)
                    due = began + (taken / pace if pace else 0.0)
                    await asyncio.sleep(max(0.0, due - time.monotonic()))
                    self._limit_time(max(began, due))
                else:
                    check.end()

    def _limit_time(self, since: float) -> None:
        seconds = time.monotonic() - since
        if seconds >= self._stuck_seconds:
            raise Stalled(
                f"{mask_query(self._url)} has been answering for {seconds:.0f} s, and whether it "
                "still serves the stream that was read before cannot be told.",
                "Check the stream server and the network in between. Retrying automatically.",
                seconds=seconds,
            )


class Reader:
    """Reads one stream from ``position`` on, as bounded batches.

    ``live`` says how to go on at the tail; with None, reading ends there. ``headers`` is awaited
    for each request. ``checkpoint`` comes from the same batch as ``position``, and lets the reader
    notice another stream at the same URL. ``silence`` is how long a connection may be silent, and
    ``stuck_seconds`` how long an answer may go on without bringing a message, however many bytes
    come; both are in seconds. ``following`` is the previous reader's, if there was one.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        url: str,
        position: Position,
        *,
        live: LiveMode | None,
        limits: BatchLimits,
        headers: AskHeaders | None = None,
        checkpoint: Checkpoint | None = None,
        silence: float | None = None,
        stuck_seconds: float = STUCK,
        following: Following | None = None,
    ) -> None:
        self.silent_since: float | None = None
        """Since when nothing has been heard from the server, on the monotonic clock; None while its
        silence is no longer than expected.
        """

        self._url = url
        self._rereader = Rereader(
            client,
            url,
            headers=headers,
            silence=silence,
            message_bytes=limits.message_bytes,
            stuck_seconds=stuck_seconds,
        )
        self._session = ReadSession(
            url,
            position,
            live=live,
            limits=limits,
            checkpoint=checkpoint,
            silence=silence,
            stuck_seconds=stuck_seconds,
            following=following,
        )

    async def batches(self) -> AsyncGenerator[Batch, None]:
        """Yields batches in stream order, without end while live; ends once the stream is closed,
        or at the tail without ``live``.

        Reads only as fast as batches are consumed. A live connection that its server ends is opened
        again; any other failure is raised, after the messages that came before it, and not retried:
        continue with a new reader at the last committed position. Close the generator
        (``contextlib.aclosing``) to give its connection back at once.
        Raises: TransportError.
        """
        session = self._session
        if check := session.opening():
            await self._rereader.recognize(check)
        while request := session.next_request():
            await asyncio.sleep(request.pause)
            try:
                async with aclosing(self._read(request)) as batches:
                    async for batch in batches:
                        yield batch
            except Silent:
                self.silent_since = time.monotonic() - request.silence
                if not session.leave_silent():
                    raise
            except ProtocolViolation:
                if not session.leave_cut():
                    raise

    async def _read(self, request: Request) -> AsyncGenerator[Batch, None]:
        """Sends one request, and yields the batches of its answer."""
        session, started = self._session, time.monotonic()
        async with self._rereader.ask(request) as response:
            session.begin(response.status_code, response.headers, await said(response))
            self.silent_since = None
            try:
                async for batch in self._read_body(response):
                    yield batch
            except SuspectedRecreation as error:
                await self._doubt(error)
            except (httpx.HTTPError, TransportError) as error:
                # Proxies end event streams in the middle of a chunk. That is no failure: what no
                # control event has confirmed comes again.
                if request.mode is not Mode.SSE or not isinstance(error, httpx.RemoteProtocolError):
                    async for batch in self._checked(session.cut()):
                        yield batch
                    raise
            try:
                async for batch in self._checked(session.end(time.monotonic() - started)):
                    yield batch
            except SuspectedRecreation as error:
                await self._doubt(error)

    async def _read_body(self, response: httpx.Response) -> AsyncGenerator[Batch, None]:
        session = self._session
        if response.status_code == 204:
            async for _ in response.aiter_raw():  # or the connection is not reused
                pass
            return
        if session.enough:
            return
        async with open_body(response) as body:
            while (data := await body.read(session.patience)) is not None:
                async for batch in self._checked(session.feed(data)):
                    yield batch
                async for batch in self._checked(session.pass_time(time.monotonic())):
                    yield batch
                if session.enough:
                    return

    async def _checked(self, batches: Iterator[Batch | None]) -> AsyncGenerator[Batch, None]:
        """Yields the batches once the stream is recognized; lets other tasks run at each None."""
        for batch in batches:
            if batch is None:
                await asyncio.sleep(0)
            elif check := self._session.recognition(batch):
                passed = await self._rereader.recognize(check)
                if confirmed := self._session.confirm(batch, passed):
                    yield confirmed
            else:
                yield batch

    async def _doubt(self, error: SuspectedRecreation) -> None:
        """Looks again after an answer that spoke of another stream, which a cache may have given.

        Raises: StreamRecreated, StreamGone; Unavailable, if the server still has the stream.
        """
        if (check := self._session.recheck()) is None:
            raise recreated(self._url) from error
        if (await self._rereader.recognize(check)).cropped:
            raise StreamGone(
                f"{mask_query(self._url)} no longer holds the beginning of the answer that was "
                "being read.",
                "Reset the stream: its rows will then match what is left of it.",
            ) from error
        raise Unavailable(
            f"{mask_query(self._url)} answered as another stream, but as itself when asked again.",
            "Retrying automatically.",
        ) from error
