"""What everything that works on one stream, under one lease, shares."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Coroutine
from typing import Any, TypeVar

from durable_state import feed
from durable_state.models import Status, Stream
from durable_state.telemetry import count_lost_lease

from .committing import Commit
from .hung_calls import CallHangs
from .left_to_others import leave_to_others
from .seat import Seat

__all__ = ["CommitGate", "Holding"]

T = TypeVar("T")

logger = logging.getLogger(__name__)

REFUSALS_SECONDS = 60.0
"""How often the log says of a stream that messages were refused, at most."""


class CommitGate:
    """Lets one commit at a time through to a stream's rows. The live reader can be held back."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self._is_open = asyncio.Event()
        self._is_open.set()

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Waits for the live reader's turn to commit."""
        await self._is_open.wait()
        async with self.lock:
            yield

    @contextlib.asynccontextmanager
    async def hold_back(self, seconds: float) -> AsyncIterator[None]:
        """Gives the live reader no turn until the block ends, nor for longer than ``seconds``.

        A commit that is under way ends before the block begins.
        """
        self._is_open.clear()
        timer = None
        try:
            async with self.lock:
                timer = asyncio.get_running_loop().call_later(seconds, self._is_open.set)
            yield
        finally:
            if timer is not None:
                timer.cancel()
            self._is_open.set()


class Holding:
    """One stream in the hands of its lease's holder; passed to everything that works on it."""

    def __init__(self, seat: Seat, token: int, *, until_up_to_date: bool = False) -> None:
        self.seat = seat
        self.token = token
        self.until_up_to_date = until_up_to_date
        """Whether the stream is only read up to its tail."""

        self.gate = CommitGate()
        self.hand_overs = 0
        """How often a replay of the stream has replaced what was read."""

        self.is_lost = False
        """Whether another seat has taken the lease."""

        self.is_let_go = False
        """Whether another seat is to have the stream."""

        self._ended = asyncio.Event()
        self._refused = 0  # messages of which the log does not know yet
        self._silent_until = 0.0

    @property
    def ends(self) -> bool:
        """Whether nothing new is to be started."""
        return self._ended.is_set() or self.seat.stop.is_set()

    def give_up(self, stream: Stream, error: CallHangs) -> None:
        """Gives the lease to others, because work on the stream hangs here."""
        if error.thread is not None:
            leave_to_others(stream, error.thread)
        self.let_go()

    def lose(self) -> None:
        """Ends all work on the stream, because another seat has taken the lease."""
        if not self.is_lost:
            count_lost_lease()
        self.is_lost = True
        self._ended.set()

    def let_go(self) -> None:
        """Ends all work on the stream after the batch in hand, so that another seat can have it."""
        self.is_let_go = True
        self._ended.set()

    async def until_ended(self, *interrupts: asyncio.Event) -> None:
        """Returns once it is time to stop, or one of the ``interrupts`` asks for it."""
        events = (self.seat.stop, self._ended, *interrupts)
        waiting = [asyncio.create_task(event.wait()) for event in events]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()

    async def unless_ended(
        self, coming: Coroutine[Any, Any, T], *interrupts: asyncio.Event
    ) -> T | None:
        """Returns the result of ``coming``; None, and cancels it, if it is time to stop before.

        The ``interrupts`` stop it too.
        """
        waiting = asyncio.ensure_future(coming)
        ending = asyncio.create_task(self.until_ended(*interrupts))
        try:
            await asyncio.wait([waiting, ending], return_when=asyncio.FIRST_COMPLETED)
            return None if ending.done() else waiting.result()
        finally:
            for task in (waiting, ending):
                task.cancel()
            # Errors raised while it is cancelled are dropped too.
            await asyncio.gather(waiting, ending, return_exceptions=True)

    async def publish(self, stream: Stream, done: Commit, seconds: float) -> None:
        """Tells subscribers and the watcher of a commit that took so many seconds."""
        using = stream.using
        closed = stream.status == Status.CLOSED
        await feed.ring(stream.name, stream.pk, done.revision, using, done.payload, closed=closed)
        self._log_refusals(stream, done.outcome.dead_letters)
        self.seat.watcher.committed(stream, done, seconds)
        self.seat.watcher.progressed(stream)

    def _log_refusals(self, stream: Stream, refused: int) -> None:
        self._refused += refused
        now = time.monotonic()
        if not self._refused or now < self._silent_until:
            return
        logger.warning(
            "%s: messages refused: %s, up to message %s:"
            " manage.py durable_state dead-letters list %s",
            stream.name,
            self._refused,
            stream.ordinal,
            stream.name,
            extra={"is_outcome": True},  # the command prints each commit's itself
        )
        self._refused = 0
        self._silent_until = now + REFUSALS_SECONDS
