"""The streams of a seat, from their claim until their leases are given back."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from functools import partial
from typing import NamedTuple

from durable_state.models import Stream

from .holder import Holder
from .lease import Claim
from .seat import Seat

__all__ = ["Ended", "HeldStreams"]

logger = logging.getLogger("durable_state.consumer")


class Ended(NamedTuple):
    """Streams whose leases are to be given back."""

    holders: list[Holder]
    unbegun: list[int]
    """The primary keys of claimed streams that were never started."""


class HeldStreams:
    """Follows each stream of a seat: once claimed it is coming, then it has a holder, then it has
    ended, and its lease is given back or kept to be handed over with the seat. For one event loop.
    """

    def __init__(self, seat: Seat, *, until_up_to_date: bool = False) -> None:
        self._seat = seat
        self._until_up_to_date = until_up_to_date
        self._tasks: set[asyncio.Task[None]] = set()
        self.coming: deque[Claim] = deque()
        self.holders: dict[int, Holder] = {}
        self.ended = Ended([], [])
        self.kept: list[Holder] = []
        self.is_keeping = False
        """Whether the leases of ended streams are kept for a successor."""

        self.failure: BaseException | None = None
        """The unexpected error that ended one of them."""

        self.has_changed = asyncio.Event()
        """Set when one of them has ended."""

    @property
    def is_empty(self) -> bool:
        """Whether no stream is held, and no lease has to be given back."""
        return not (self.holders or self.ended.holders or self.ended.unbegun)

    def take_coming(self, count: int) -> list[Claim]:
        """Takes out at most so many streams that are to be started."""
        return [self.coming.popleft() for _ in range(min(count, len(self.coming)))]

    def hold(self, claimed: Claim, stream: Stream) -> None:
        """Starts consuming the stream."""
        holder = Holder(
            stream,
            self._seat,
            claimed.token,
            until_up_to_date=self._until_up_to_date,
            goes_on=claimed.goes_on,
        )
        self.holders[stream.pk] = holder
        self._seat.watcher.began(stream)
        task = asyncio.create_task(holder.run())
        self._tasks.add(task)
        task.add_done_callback(partial(self._end, holder))

    def let_go(self, count: int) -> None:
        """Gives up so many streams: first those not started yet, then those that are idle."""
        count -= self._return(count)
        if count <= 0:
            return
        held = [holder for holder in self.holders.values() if not holder.holding.ends]
        held.sort(key=lambda holder: not holder.is_idle)
        for holder in held[:count]:
            holder.holding.let_go()

    def lose_all(self) -> None:
        """Drops all streams, because other seats have taken them."""
        self.coming.clear()
        for holder in self.holders.values():
            holder.holding.lose()

    def stop_keeping(self) -> None:
        """Gives back all kept leases if some streams are still busy."""
        if not self.holders:
            return
        self.is_keeping = False
        self.ended.holders.extend(self.kept)
        self.kept.clear()
        self._return(len(self.coming))
        self.has_changed.set()

    def ended_by_now(self) -> Ended:
        """A copy, because more streams may end while these leases are given back."""
        return Ended(list(self.ended.holders), list(self.ended.unbegun))

    def forget(self, ended: Ended) -> None:
        """Forgets streams whose leases were given back."""
        del self.ended.holders[: len(ended.holders)], self.ended.unbegun[: len(ended.unbegun)]

    async def all_ended(self) -> None:
        """Waits until no stream is held; someone else must have asked them to end."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _return(self, count: int) -> int:
        """Gives up at most so many that were not started; returns how many."""
        returned = [self.coming.pop() for _ in range(min(max(0, count), len(self.coming)))]
        self.ended.unbegun.extend(each.stream_pk for each in returned)
        return len(returned)

    def _end(self, holder: Holder, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.failure = error
            logger.error("%s: it ended unexpectedly.", holder.stream, exc_info=error)

        del self.holders[holder.stream.pk]
        (self.kept if self.is_keeping else self.ended.holders).append(holder)
        watcher = self._seat.watcher
        (watcher.let_go if holder.holding.is_let_go else watcher.ended)(holder.stream)
        self.has_changed.set()
