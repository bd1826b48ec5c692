"""Consuming one stream for as long as its lease is ours."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import Any

import django.db

from durable_state.conf import get_settings
from durable_state.models import Replay, Stream

from . import lease
from .holding import Holding
from .lag import write_lags
from .live_target import LiveTarget
from .loop import Loop
from .recognizer import Recognizer
from .replay import replayable
from .replay_target import ReplayTarget
from .seat import Seat

__all__ = ["Holder"]

logger = logging.getLogger("durable_state.consumer")


class Holder:
    """Holds the lease of one stream, keeps its rows up to date, and replays it where that was asked
    for: until it is told to stop, until there is nothing left to do (closed, paused, halted),
    or until the lease is lost.

    What has to be done now and then is a method each that does it once; ``run`` calls them.
    """

    def __init__(
        self,
        stream: Stream,
        token: int,
        seat: Seat,
        *,
        until_up_to_date: bool = False,
        goes_on: bool = False,
    ) -> None:
        """``goes_on`` says that somebody consumed the stream until now, and just handed over."""
        self._stream = stream
        self._holding = Holding(seat, token, until_up_to_date=until_up_to_date)
        self._threads = seat.threads
        self._live = LiveTarget(stream, self._holding)
        self._live_loop = Loop(self._live, self._holding)
        self._running: list[Loop[Any]] = []
        self._recognizer = Recognizer(self._live_loop, self._holding, at_start=not goes_on)
        self._replaying = asyncio.Lock()
        self._tasks: list[asyncio.Task[None]] = []

    async def run(self) -> None:
        """Consumes until there is a reason to end; gives the lease back."""
        beside = [
            self._keep_lease(),
            self._keep_releasing(),
            self._keep_replaying(),
            self._recognizer.run(),
        ]
        self._tasks = [asyncio.create_task(each) for each in beside]
        self._holding.seat.lags.append(self._live.lag)
        try:
            await self._consume()
        finally:
            self._holding.seat.lags.remove(self._live.lag)
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            with contextlib.suppress(django.db.Error):
                await self._threads.run(self._give_back)

    def _give_back(self) -> None:
        """Says how far the rows lag, which the next holder goes by, and gives the lease back."""
        stream, holding, live = self._stream, self._holding, self._live
        if live.lag.has_changed:
            write_lags(stream.using, [live.lag.note()])
        at_tail = holding.until_up_to_date and live.at_tail
        lease.give_back(stream, holding.token, at_tail=at_tail)

    async def _consume(self) -> None:
        """Keeps the rows up to date; then runs the replay to its end."""
        holding = self._holding
        while not holding.ends:
            hand_overs = holding.hand_overs
            await self._run_loop(self._live_loop)
            if holding.until_up_to_date:
                await holding.unless_ended(self._recognizer.finish())

            replaying = asyncio.create_task(self.replay())
            self._tasks.append(replaying)
            while not (await asyncio.wait([replaying], timeout=_third_of_lease()))[0]:
                # The stream may have been resumed, which a replay that takes its time does not
                # notice.
                await self._run_loop(self._live_loop)

            # From where a replay is handed over there may be a way on, also where there was none
            # before.
            if holding.hand_overs == hand_overs or holding.until_up_to_date:
                return

    async def renew_lease(self) -> None:
        """Renews the lease while a commit, or a quiet stream, takes its time."""
        if not await self._threads.run_for_lease(lease.renew, self._stream, self._holding.token):
            self._holding.lose()

    async def look_for_changes(self) -> None:
        """Looks whether somebody else touched what is being consumed."""
        for loop in list(self._running):
            await loop.look()

    async def release(self) -> None:
        """Shows parked changes that something outside this stream made room for, which no batch of
        its own may tell.
        """
        await self._live.release()

    async def replay(self) -> None:
        """Runs the stream's replay, if there is one, until it is handed over or cannot go on.

        Who has the lease tries it at once, as the stream itself, however lately it failed.
        """
        async with self._replaying:
            while not self._holding.ends and (replay := await self._find_replay()) is not None:
                loop = Loop(ReplayTarget(replay, self._holding), self._holding)
                recognizer = Recognizer(loop, self._holding, at_start=False)
                recognizing = asyncio.create_task(recognizer.run())
                try:
                    await self._run_loop(loop)
                finally:
                    recognizing.cancel()
                    await asyncio.gather(recognizing, return_exceptions=True)

    async def _find_replay(self) -> Replay | None:
        stream = self._stream
        found = (
            replayable(stream.using)
            .filter(stream=stream.pk, stream__paused=False)
            .select_related("stream")
        )
        with contextlib.suppress(django.db.Error):  # it is looked for again
            return await self._threads.run(found.first)
        return None

    async def _run_loop(self, loop: Loop[Any]) -> None:
        self._running.append(loop)
        try:
            await loop.run()
        finally:
            self._running.remove(loop)

    async def _keep_lease(self) -> None:
        while not self._holding.is_lost:
            await asyncio.sleep(_third_of_lease())
            try:
                await self.renew_lease()
                await self.look_for_changes()
            except django.db.Error as error:
                logger.warning("%s: the lease could not be renewed: %s", self._stream, error)

    async def _keep_releasing(self) -> None:
        while not self._holding.is_lost:
            began = time.monotonic()
            await self.release()
            took = time.monotonic() - began
            # However much is polled, it is a tenth of the time at most.
            await asyncio.sleep(max(_third_of_lease(), took * 9))

    async def _keep_replaying(self) -> None:
        while not self._holding.is_lost:
            await self.replay()
            await asyncio.sleep(_third_of_lease())


def _third_of_lease() -> float:
    return get_settings().lease_seconds / 3
