"""Consumes one stream for as long as its seat has the lease."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Coroutine
from typing import Any

import django.db

from durable_state.conf import get_settings
from durable_state.models import Replay, Status, Stream

from .error_text import describe_error
from .holding import Holding
from .live_target import LiveTarget
from .looking import Seen, look_at_stream
from .loop import Loop
from .recognizer import Recognizer
from .replay import replayable
from .replay_target import ReplayTarget
from .seat import Seat
from .visit import Visit

__all__ = ["Holder"]

logger = logging.getLogger("durable_state.consumer")

FIND_SECONDS = 0.5
"""Seconds until another search for a replay, if the database did not answer."""


class Holder:
    """Keeps the rows of one stream up to date, and runs its replay if there is one, until there is
    nothing left to do (closed, paused, halted), it is told to stop, or the lease is lost.

    It has no timers: its seat's keeper tells it what was noticed, and when time has passed.
    """

    def __init__(
        self,
        stream: Stream,
        seat: Seat,
        token: int,
        *,
        until_up_to_date: bool = False,
        goes_on: bool = False,
    ) -> None:
        """``goes_on`` says that the stream was consumed until now and has just changed hands."""
        self.stream = stream
        rests = stream.has_doorbell
        self.holding = Holding(seat, token, until_up_to_date=until_up_to_date or rests)
        self._visit = Visit(stream, seat) if rests else None
        self._threads = seat.threads
        self._live = LiveTarget(stream, self.holding)
        self.lag = self._live.lag
        self._live_loop = Loop(self._live, self.holding)
        self._running: list[Loop[Any]] = []
        self._recognizers = [
            Recognizer(self._live_loop, self.holding, at_start=not (goes_on or rests))
        ]
        self._replaying = asyncio.Lock()
        self._releasing = False
        self._releases_from = 0.0
        self._beside: set[asyncio.Task[None]] = set()

    @property
    def has_reached_tail(self) -> bool:
        """Whether it only had to read up to the tail, and did."""
        return self.holding.until_up_to_date and self._live.at_tail

    @property
    def is_idle(self) -> bool:
        """Whether the stream only waits for news, so another seat can take it at no cost."""
        return not self._replaying.locked() and self.stream.status == Status.LIVE

    async def run(self) -> None:
        """Consumes until there is a reason to end."""
        self.holding.seat.lags.append(self.lag)
        try:
            if self._visit is None:
                await self._consume()
            else:
                await self._look_in(self._visit)
        finally:
            self.holding.seat.lags.remove(self.lag)
            for task in self._beside:
                task.cancel()
            await asyncio.gather(*self._beside, return_exceptions=True)

    def notice(self, seen: Seen) -> None:
        """Notices what others have done. To be called every few seconds."""
        for loop in self._running:
            if loop.target.is_touched(seen):
                self._start(loop.look(seen))
        is_time = not self._releasing and time.monotonic() >= self._releases_from
        if seen.may_release and is_time:
            self._start(self._release())
        if seen.is_replayable and not self._replaying.locked():
            self._start(self._replay())

    def pass_time(self) -> None:
        """Checks again what was read, when that is due. To be called about once a second."""
        for recognizer in self._recognizers:
            if recognizer.is_due():
                self._start(recognizer.look_if_due())

    def _start(self, coming: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(coming)
        self._beside.add(task)
        task.add_done_callback(self._report)
        return task

    def _report(self, task: asyncio.Task[None]) -> None:
        self._beside.discard(task)
        if task.cancelled() or (error := task.exception()) is None:
            return
        if isinstance(error, django.db.Error):  # the next look does it again
            logger.info("%s: %s", self.stream, describe_error(error).sentence)
        else:
            logger.error("%s: unexpected.", self.stream, exc_info=error)

    async def _look_in(self, visit: Visit) -> None:
        """Reads up to the tail; the stream's server is told before and after."""
        await self._unless_ended(visit.begin())
        await self._consume()
        if not self.stream.has_doorbell:
            return  # it is followed from now on

        seen = await self._threads.run(look_at_stream, self.stream)
        if seen is not None and seen.may_release:
            await self._unless_ended(self._release())
        await self._unless_ended(visit.finish() if self._live.at_tail else visit.abandon())

    async def _unless_ended(self, coming: Coroutine[Any, Any, None]) -> None:
        """Awaits it, unless it is time to stop. If it is skipped or fails, the stream stays due."""
        try:
            await self.holding.unless_ended(coming)
        except django.db.Error as error:
            logger.info("%s: %s", self.stream, describe_error(error).sentence)

    async def _consume(self) -> None:
        """Keeps the rows up to date; then runs the replay to its end."""
        holding = self.holding
        while not holding.ends:
            hand_overs = holding.hand_overs
            await self._run_loop(self._live_loop)
            if holding.until_up_to_date:
                await holding.unless_ended(self._recognizers[0].finish())

            replaying = self._start(self._replay())
            while not (await asyncio.wait([replaying], timeout=_third_of_lease()))[0]:
                # The stream may have been resumed, which a replay that takes its time does not
                # notice.
                await self._run_loop(self._live_loop)

            # After a replay was handed over, there may be something to read, even if there was
            # nothing before.
            if holding.hand_overs == hand_overs or holding.until_up_to_date:
                return

    async def _release(self) -> None:
        """Shows parked changes that something outside this stream made room for, since no batch of
        its own may do so.
        """
        began, self._releasing = time.monotonic(), True
        try:
            await self._live.release()
        finally:
            self._releasing = False
            # This takes at most a tenth of the time, however much has to be polled.
            took = time.monotonic() - began
            self._releases_from = time.monotonic() + max(_third_of_lease(), took * 9)

    async def _replay(self) -> None:
        """Runs the stream's replay, if there is one, until it is handed over or cannot go on.

        A new holder tries it at once, like the stream itself, however recently it failed.
        """
        async with self._replaying:
            while not self.holding.ends and (replay := await self._find_replay()) is not None:
                loop = Loop(ReplayTarget(replay, self.holding), self.holding)
                recognizer = Recognizer(loop, self.holding, at_start=False)
                self._recognizers.append(recognizer)
                try:
                    await self._run_loop(loop)
                finally:
                    self._recognizers.remove(recognizer)

    async def _find_replay(self) -> Replay | None:
        stream = self.stream
        found = (
            replayable(stream.using)
            .filter(stream=stream.pk, stream__paused=False)
            .select_related("stream")
        )
        # A database error must not look like "no replay", which ends a closed stream.
        while not self.holding.ends:
            with contextlib.suppress(django.db.Error):
                return await self._threads.run(found.first)
            await self.holding.unless_ended(asyncio.sleep(FIND_SECONDS))
        return None

    async def _run_loop(self, loop: Loop[Any]) -> None:
        self._running.append(loop)
        try:
            await loop.run()
        finally:
            self._running.remove(loop)


def _third_of_lease() -> float:
    return get_settings().lease_seconds / 3
