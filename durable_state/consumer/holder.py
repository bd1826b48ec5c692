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
from .live import LiveLoop
from .loop import Holding
from .recognizer import Recognizer
from .replay import replayable
from .replaying import ReplayLoop
from .threads import DatabaseThreads
from .watcher import NOBODY, Watcher

__all__ = ["Tail"]

logger = logging.getLogger("durable_state.consumer")


class Tail:
    """Holds the lease of one stream, keeps its rows up to date, and replays it beside where that was asked for: until it is told to stop,
    until there is nothing left to do (closed, paused, halted), or until the lease is lost.
    """

    def __init__(
        self,
        stream: Stream,
        token: int,
        *,
        client: Any,
        threads: DatabaseThreads,
        stop: asyncio.Event,
        until_up_to_date: bool = False,
        watcher: Watcher = NOBODY,
        goes_on: bool = False,
    ) -> None:
        """``goes_on`` says that somebody consumed the stream until now, and just handed over."""
        self._holding = Holding(token, client, threads, stop, until_up_to_date)
        self._threads = threads
        self._live = LiveLoop(stream, self._holding, watcher)
        self._recognizer = Recognizer(self._live, self._holding, at_start=not goes_on)
        self._replaying = asyncio.Lock()
        self._handed_over = 0

    async def run(self) -> None:
        """Consumes until there is a reason to end; gives the lease back."""
        beside = [
            self._keep_lease(),
            self._keep_releasing(),
            self._keep_replaying(),
            self._recognizer.run(),
        ]
        tasks = [asyncio.create_task(each) for each in beside]
        try:
            while not self._holding.ends:
                handed_over = self._handed_over
                await self._live.run()
                if self._holding.until_up_to_date:
                    await self._live.unless_stopped(self._recognizer.finish())
                replaying = asyncio.create_task(self._replay())
                tasks.append(replaying)
                while not (
                    await asyncio.wait([replaying], timeout=get_settings().lease_seconds / 3)
                )[0]:
                    # The stream may have been resumed, which a replay that takes its time does not notice.
                    await self._live.run()
                # From where a replay is handed over there may be a way on, also where there was none before.
                if self._handed_over == handed_over or self._holding.until_up_to_date:
                    break
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            with contextlib.suppress(django.db.Error):
                await self._threads.run(
                    lease.give_back,
                    self._live.progress,
                    self._holding.token,
                    at_tail=self._holding.until_up_to_date and self._live.at_tail,
                )

    async def _keep_lease(self) -> None:
        """Renews the lease while a commit, or a quiet stream, takes its time; and looks whether somebody else touched the stream."""
        stream, holding = self._live.progress, self._holding
        while not holding.lost:
            await asyncio.sleep(get_settings().lease_seconds / 3)
            try:
                if not await self._threads.run_for_lease(lease.renew, stream, holding.token):
                    holding.lose()
                for loop in list(holding.loops):
                    await loop.look()
            except django.db.Error as error:
                logger.warning("%s: the lease could not be renewed: %s", stream.name, error)

    async def _keep_releasing(self) -> None:
        """Shows parked changes that something outside this stream made room for, which no batch of its own may tell."""
        while not self._holding.lost:
            began = time.monotonic()
            await self._live.release()
            took = time.monotonic() - began
            # However much is polled, it is a tenth of the time at most.
            await asyncio.sleep(max(get_settings().lease_seconds / 3, took * 9))

    async def _keep_replaying(self) -> None:
        """Replays the stream beside its live reader, when somebody asks for it."""
        while not self._holding.lost:
            await self._replay()
            await asyncio.sleep(get_settings().lease_seconds / 3)

    async def _replay(self) -> None:
        """Runs the stream's replay, if there is one, until it is handed over or cannot go on.

        Who has the lease tries it at once, as the stream itself, however lately it failed.
        """
        async with self._replaying:
            while not self._holding.ends and (replay := await self._find_replay()) is not None:
                loop = ReplayLoop(replay, self._live, self._holding)
                recognizer = Recognizer(loop, self._holding, at_start=False)
                recognizing = asyncio.create_task(recognizer.run())
                try:
                    await loop.run()
                finally:
                    recognizing.cancel()
                    await asyncio.gather(recognizing, return_exceptions=True)
                self._handed_over += loop.handed_over

    async def _find_replay(self) -> Replay | None:
        stream = self._live.progress
        found = (
            replayable(stream.using)
            .filter(stream=stream.pk, stream__paused=False)
            .select_related("stream")
        )
        with contextlib.suppress(django.db.Error):  # it is looked for again
            return await self._threads.run(found.first)
        return None
