"""Deletes what is outdated, so that nothing grows for ever: in short steps, for a share of the
time.

Why: decision 64.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial

import django.db

from durable_state import feed
from durable_state.databases.clock import database_now
from durable_state.databases.transaction import commit_transaction
from durable_state.materializer import sweep_generations
from durable_state.models import Generation

from .samples import delete_samples, merge_samples
from .threads import DatabaseThreads

__all__ = ["Cleanup", "sweep_dropped", "tidy"]

logger = logging.getLogger("durable_state.consumer")

TIDY_SECONDS = 60.0
"""Seconds between two searches for something to delete."""
SHARE = 0.25
"""The largest share of the time that may be spent deleting."""
STEP_SECONDS = 0.1
"""Seconds that one step should take. On SQLite, a commit waits that long."""
FEWEST, MOST = 250, 20_000
"""The fewest and the most rows that one step deletes."""


class Step:
    """One kind of deletion. How long it takes decides how much is deleted at once."""

    def __init__(self, delete: Callable[[str, int], bool]) -> None:
        """``delete`` takes a database and a number of rows; it returns whether there may be
        more.
        """
        self._delete = delete
        self.rows = FEWEST

    def take(self, using: str) -> tuple[bool, float]:
        """Returns whether there may be more, and the seconds that it took. Called in a thread."""
        began = time.monotonic()
        is_more = self._delete(using, self.rows)
        seconds = time.monotonic() - began
        if seconds > 2 * STEP_SECONDS:
            self.rows = max(FEWEST, self.rows // 2)
        elif seconds < STEP_SECONDS / 2:
            self.rows = min(MOST, self.rows * 2)
        return is_more, seconds


class Cleanup:
    """Deletes what the database no longer needs, beside the commits of a seat. For one event loop.

    Invariant: after each step it pauses for three times as long as the step took, so no commit of
    any stream waits for more than one step.
    """

    def __init__(self, using: str, threads: DatabaseThreads) -> None:
        self._using = using
        self._threads = threads
        self._asked = asyncio.Event()
        self._steps = _all_steps()

    def ask(self) -> None:
        """Asks for a round of deletion, because a commit has left something behind."""
        self._asked.set()

    async def run(self, *, each_minute: bool) -> None:
        """Deletes when asked to and, with ``each_minute``, regularly; until it is cancelled."""
        if each_minute:
            self.ask()
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._asked.wait(), TIDY_SECONDS if each_minute else None)
            self._asked.clear()
            exhausting = [partial(self._exhaust, step) for step in self._steps]
            works: list[Callable[[], Awaitable[None]]] = [self._drop_killed, *exhausting]
            for work in works:
                try:
                    await work()
                except django.db.Error as error:
                    logger.warning(
                        "Some of what is no longer needed could not be deleted: %s", error
                    )
                except Exception:
                    # The project's code may fail too, such as a receiver of ``post_delete``; the
                    # rest continues.
                    logger.exception("Some of what is no longer needed could not be deleted.")

    async def _drop_killed(self) -> None:
        await self._threads.run(_drop_killed, self._using)

    async def _exhaust(self, step: Step) -> None:
        while await self._take(step):
            pass

    async def _take(self, step: Step) -> bool:
        is_more, seconds = await self._threads.run_long(step.take, self._using)
        await asyncio.sleep(seconds * (1 / SHARE - 1))
        return is_more


def tidy(using: str, seconds: float = 1.0) -> None:
    """Deletes outdated feed entries, rows held for readers, samples, and what dropped generations
    and killed verifications have left, for at most so many seconds each.
    """
    _drop_killed(using)
    for step in _all_steps():
        until = time.monotonic() + seconds
        while step.take(using)[0] and time.monotonic() < until:
            pass


def sweep_dropped(using: str, rows: int = MOST) -> bool:
    """Deletes about so many rows that dropped generations still hold, in a transaction of its own.

    Returns whether there may be more.
    """
    with commit_transaction(using):
        return sweep_generations(using, rows)


def _all_steps() -> list[Step]:
    bounded = (feed.prune, feed.prune_held, delete_samples, merge_samples)
    return [*(Step(partial(_is_more, each)) for each in bounded), Step(sweep_dropped)]


def _is_more(delete: Callable[[str, int], int], using: str, rows: int) -> bool:
    """Whether there may be more, given that so many rows were deleted."""
    return delete(using, rows) == rows


def _drop_killed(using: str) -> None:
    """No worker takes longer than a day for a verification."""
    day_ago = database_now(using) - timedelta(days=1)
    generations = Generation.objects.using(using)
    killed = generations.filter(purpose=Generation.Purpose.VERIFY, created_at__lt=day_ago)
    killed.update(purpose=Generation.Purpose.DROPPED, changes=0)
