"""Performs what a read session decides."""

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
"""How fast a part of a stream is read again, so that it takes nothing from those who read on."""


_CUT = (httpx.RemoteProtocolError, httpx.ReadError)


class Rereader:
    """Looks whether a URL still serves the stream that was read before."""

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
        """Reads again what lies just before the checkpoint,
        or with ``deep`` as much as marks allow.

        It does so at a bounded pace.
        Raises: StreamRecreated, where it is another stream; TransportError.
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
        """Makes the check, and gives it as it passed.

        What says that it is another stream is asked again, past any cache, before it is believed.
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
        brought_at = time.monotonic()
        while request := check.next_request():
            await asyncio.sleep(request.pause)
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
            if not check.is_empty:
                brought_at = time.monotonic()
            self._limit_time(brought_at)

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
    for each request. ``checkpoint`` is the one of the batch that ``position`` came from, and lets
    the reader notice another stream under the same URL. ``silence`` is the longest that a
    connection may stay without a byte, ``stuck_seconds`` the longest that an answer may go on
    without bringing a message, however many bytes come; both are seconds. ``following`` is that of
    the reader before, where there was one.
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
        """Since when nothing is heard of the server, on the monotonic clock; None while it is no
        longer silent than is to be expected.
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
        """Batches in stream order, for ever while live;
        ends once the stream is closed, or at the tail without ``live``.

        Reads on only as far as batches are taken. A live connection that its server ends is opened
        again; any other trouble is raised, after the messages that came before it. No failure is
        retried here: go on with a new reader at the last position that was committed. Close the
        generator (``contextlib.aclosing``) to give its connection back at once.
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
        """Sends one request, and gives the batches of its answer."""
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
                # Proxies end an event stream in the middle of a chunk; what no control event
                # confirmed comes again.
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
            async for _ in response.aiter_raw():  # nothing, but only then is it used again
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
        """Those of the stream that was read before; others have their turn where there is None."""
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
        """The answer to a read spoke of another stream;
        a cache's may be older than what was read.
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
