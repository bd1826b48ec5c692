"""Listens to the wake streams of a database, beside the streams of a seat. Why: decision 62."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Collection
from contextlib import aclosing

import django.db
import msgspec

from durable_state.conf import get_settings
from durable_state.errors import (
    DurableStateError,
    StreamGone,
    StreamRecreated,
)
from durable_state.models import Stream, WakeStream
from durable_state.protocol import START, Message, Position
from durable_state.protocol.subscriptions import WakeEvent
from durable_state.transport import Batch, BatchLimits, Reader, create, delay

from . import wakes
from .process_names import name_process
from .request_headers import headers_function
from .seat import Seat

__all__ = ["WakeListener"]

logger = logging.getLogger("durable_state.consumer")

LOOK_SECONDS = 5.0
"""The most seconds between two searches for wake streams that nobody listens to."""
LIMITS = BatchLimits(rows=1_000, bytes=1024 * 1024, seconds=0.05)


class WakeListener:
    """Listens to the wake streams that no other seat listens to, until its seat is asked to stop.

    Invariant: what was heard is stored before more is read, so the next listener hears everything
    that we did not. A wake stream can cause a stream to be read, and nothing else.
    """

    def __init__(self, using: str, seat: Seat) -> None:
        self._using = using
        self._seat = seat
        self._threads = seat.threads
        self._holder = name_process("wakes")
        self._listening: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Listens until its task is cancelled."""
        try:
            while True:
                try:
                    await self._look()
                except django.db.Error as error:
                    logger.info("Could not look for wake streams: %s", error)
                await asyncio.sleep(min(LOOK_SECONDS, get_settings().lease_seconds / 3))
        finally:
            await self._end(list(self._listening))
            with contextlib.suppress(django.db.Error):
                stop = wakes.stop_listening
                await self._threads.run_for_lease(stop, self._using, self._holder)

    async def _look(self) -> None:
        """Starts listening to the wake streams that are ours now, and ends listening to the
        others.
        """
        ours = await self._threads.run_for_lease(wakes.listen, self._using, self._holder)
        await self._end(set(self._listening) - {each.pk for each in ours})
        for each in ours:
            if each.pk not in self._listening or self._listening[each.pk].done():
                hearing = _Hearing(self._using, self._seat, each)
                self._listening[each.pk] = asyncio.create_task(hearing.run())

    async def _end(self, pks: Collection[str]) -> None:
        tasks = [self._listening.pop(pk) for pk in pks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class _Hearing:
    """Listens to one wake stream, session after session, until another seat listens to it."""

    def __init__(self, using: str, seat: Seat, wake_stream: WakeStream) -> None:
        self._using = using
        self._client = seat.client
        self._threads = seat.threads
        self._wake_stream = wake_stream
        self._position = Position(wake_stream.offset, wake_stream.skip, wake_stream.ordinal)
        self._failures = 0

    async def run(self) -> None:
        """Ends once it is another seat's, or names no stream any more."""
        while True:
            wait = 0.0
            try:
                stream = await self._find_stream()
                if stream is None or not await self._read(stream):
                    return
            except (DurableStateError, django.db.Error, OSError) as error:
                self._failures += 1
                wait = delay(self._failures, getattr(error, "retry_after", None))
                await self._note(error)
            await asyncio.sleep(wait)

    async def _find_stream(self) -> Stream | None:
        """A stream whose headers are used to read the wake stream."""
        return await self._threads.run(wakes.told_by, self._using, self._wake_stream)

    async def _read(self, stream: Stream) -> bool:
        """Reads until it fails; False if another seat listens now."""
        headers = headers_function(stream, self._threads.project_calls)
        # The protocol leaves creating it to the application.
        await create(self._client, self._wake_stream.url, headers=headers)
        reader = Reader(
            self._client,
            self._wake_stream.url,
            self._position,
            live="sse",
            limits=LIMITS,
            headers=headers,
            stuck_seconds=get_settings().stuck_seconds,
        )
        async with aclosing(reader.batches()) as batches:
            async for batch in batches:
                if not await self._hear(batch):
                    return False
        return True

    async def _hear(self, batch: Batch) -> bool:
        """Stores the wakes of the batch; False if another seat listens now."""
        self._failures = 0
        if batch.position == self._position and not self._wake_stream.last_error:
            return True
        heard = _newest(batch.messages).items()
        is_ours = await self._threads.run(
            wakes.hear, self._using, self._wake_stream, heard, batch.position
        )
        self._position, self._wake_stream.last_error = batch.position, ""
        return is_ours

    async def _note(self, error: Exception) -> None:
        """Stores a failure, once; if the URL now serves another stream, that is read from its
        start.
        """
        logger.info("Could not read the wake stream %s: %s", self._wake_stream, error)
        if isinstance(error, StreamGone | StreamRecreated):
            self._position = START
        told = error.message if isinstance(error, DurableStateError) else type(error).__name__
        if self._wake_stream.last_error == told:
            return
        self._wake_stream.last_error = told
        with contextlib.suppress(django.db.Error):
            await self._threads.run(
                wakes.note_deafness, self._using, self._wake_stream, told, self._position
            )


def _newest(messages: list[Message]) -> dict[str, int]:
    """The newest generation of each subscription that wakes; items that are not wakes are
    skipped.
    """
    newest: dict[str, int] = {}
    for message in messages:
        try:
            event = msgspec.json.decode(message.raw, type=WakeEvent)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue
        if event.type == "wake":
            known = newest.get(event.subscription_id, 0)
            newest[event.subscription_id] = max(known, event.generation)
    return newest
