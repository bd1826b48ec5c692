"""Looking after a seat, once for all its streams."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import partial

import django.db

from durable_state.conf import get_settings
from durable_state.models import Stream

from . import spread
from .claiming import find_demand
from .holder import Holder
from .lag import write_lags
from .lease import Claim, claim, give_back
from .looking import look_at_held
from .seat import Seat
from .seating import Place, join, leave, renew, vacate

__all__ = ["Attendant"]

logger = logging.getLogger("durable_state.consumer")

CLAIM_SECONDS = 1.0
"""Seconds between two looks for streams that nobody consumes."""
LOOK_SECONDS = 2.0
"""Seconds between two looks at what others did to the streams of a seat."""
PASS_SECONDS = 1.0
"""Seconds after which holders are told that time has passed."""
BEGIN_SECONDS = 0.2
"""Seconds between two groups of streams that begin, so that many do not begin in one moment."""
BEGIN_AT_ONCE = 40
"""Streams in such a group."""
SURPLUS_ROUNDS = 5
"""Claims in a row that find the seat one too many, before it is given up."""
GRACE_SECONDS = 2.0
"""Seconds that batches in hand have to end, where all streams are to go to one successor."""


@dataclass(slots=True)
class _Round:
    """A step that is taken again and again."""

    step: Callable[[], Awaitable[None]]
    seconds: float
    due: float = 0.0


class Attendant:
    """Looks after one seat and all its streams: renews it, claims what is its share and gives up
    what is more, sees what others did, and gives back what has ended.

    Invariant: its statements have a connection of their own, which no commit holds up; and there is
    one of each, however many streams it has. A stream hears of it only where something has changed.
    """

    def __init__(
        self, seat: Seat, place: Place, *, capacity: int = 0, until_up_to_date: bool = False
    ) -> None:
        """Without a ``capacity``, it takes no streams of its own accord."""
        self._seat = seat
        self._place = place
        self._capacity = capacity
        self._until_up_to_date = until_up_to_date

        # A claimed stream is coming; then it has a holder; then it has ended, and its lease is
        # given back, or kept to be handed over.
        self._coming: deque[Claim] = deque()
        self._holders: dict[int, Holder] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._ended: list[Holder] = []
        self._unbegun: list[int] = []
        self._kept: list[Holder] = []
        self.hands_over = False
        """Whether the seat, with its streams, is kept for a successor."""

        self._failure: BaseException | None = None
        self._begins_from = 0.0
        self._surplus_rounds = 0
        self._is_away = False
        self._wake = asyncio.Event()
        third = get_settings().lease_seconds / 3
        self._renewing = _Round(self._renew, third, time.monotonic() + third)
        self._looking = _Round(self._look, min(LOOK_SECONDS, third))
        self._rounds = [self._looking, _Round(self._pass_time, PASS_SECONDS)]
        if capacity:
            self._rounds.insert(0, _Round(self._claim, min(CLAIM_SECONDS, third)))

    async def run(self, claims: Iterable[Claim] = ()) -> None:
        """Consumes what it claims, and these, until the seat is asked to stop; then gives it up.

        A seat that takes no streams of its own accord ends with those that it was given.
        Raises: what was not expected, and ended one of those.
        """
        self._coming.extend(claims)
        stopping = asyncio.create_task(self._seat.stop.wait())
        stopping.add_done_callback(lambda _: self._wake.set())
        try:
            while True:
                await self._take_turns()
                if self._is_over():
                    break
                await self._rest()
        finally:
            stopping.cancel()
            self._seat.stop.set()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            with contextlib.suppress(django.db.Error):
                await self._seat.threads.run_for_lease(self._give_up)
        if self._failure is not None:
            raise self._failure

    def hand_over(self) -> None:
        """Asks the seat to stop, and keeps it, with its streams, for a successor that is sent for.

        Not for long, where a batch takes its time: others then take what is free by now.
        """
        self.hands_over = bool(self._holders or self._coming)
        self._seat.stop.set()
        asyncio.get_running_loop().call_later(GRACE_SECONDS, self._stop_handing_over)

    def _stop_handing_over(self) -> None:
        if self._holders:
            self.hands_over = False
            self._ended += self._kept
            self._kept.clear()
            self._return(len(self._coming))
            self._wake.set()

    def _give_up(self) -> None:
        """Gives the seat up, for good or to a successor. Called in a thread."""
        self._tell_lags(self._kept)
        (vacate if self.hands_over else leave)(self._place)

    def _is_over(self) -> bool:
        has_streams = bool(self._holders or self._ended or self._unbegun)
        if self._seat.stop.is_set():
            return not has_streams
        return not (has_streams or self._coming or self._capacity)

    async def _take_turns(self) -> None:
        """Takes each step that is due."""
        for each in self._current_rounds():
            if time.monotonic() >= each.due:
                await self._attempt(each.step)
                each.due = time.monotonic() + each.seconds

        begins = bool(self._coming) and not self._seat.stop.is_set()
        if begins and time.monotonic() >= self._begins_from:
            await self._attempt(self._begin)
            self._begins_from = time.monotonic() + BEGIN_SECONDS

        if self._ended or self._unbegun:
            await self._attempt(self._give_back)

    async def _rest(self) -> None:
        """Waits until something is due, or has ended."""
        due = min(each.due for each in self._current_rounds())
        if self._coming:
            due = min(due, self._begins_from)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), max(0.01, due - time.monotonic()))
        self._wake.clear()

    def _current_rounds(self) -> list[_Round]:
        return [self._renewing, *([] if self._seat.stop.is_set() else self._rounds)]

    async def _attempt(self, step: Callable[[], Awaitable[None]]) -> None:
        try:
            await step()
        except django.db.Error as error:
            if not self._is_away:  # once for each outage
                logger.warning("The database cannot be asked about streams: %s", error)
            self._is_away = True
        else:
            self._is_away = False

    async def _renew(self) -> None:
        ask, using = self._seat.threads.run_for_lease, self._place.using
        if await ask(renew, self._place):
            return

        # It had expired: whoever was quicker has the streams.
        logger.warning("The seat %s has expired; its streams are others' by now.", self._place.name)
        self._coming.clear()
        for holder in self._holders.values():
            holder.holding.lose()
        if self._capacity:
            self._place = await ask(join, using, self._place.purpose, self._capacity)

    async def _claim(self) -> None:
        ask, place = self._seat.threads.run_for_lease, self._place
        seats, free = await ask(find_demand, place.using)
        free = [pk for pk in free if pk not in self._holders]
        if place.pk not in [each.pk for each in seats]:
            return  # it has expired; renewing tells

        wanted = spread.choose(seats, place.pk, free)
        if wanted:
            claims = await ask(claim, place, wanted)
            self._coming.extend(claims)
            self._looking.due = 0.0
            return

        ending = sum(holder.holding.ends for holder in self._holders.values())
        self._let_go(spread.surplus(seats, place.pk, len(free)) - ending)
        self._leave_if_surplus(spread.is_surplus(seats, place.pk, len(free), get_settings()))

    def _let_go(self, count: int) -> None:
        """Gives up so many streams, those first that nothing happens to."""
        count -= self._return(count)
        held = [holder for holder in self._holders.values() if not holder.holding.ends]
        held.sort(key=lambda holder: not holder.is_idle)
        for holder in held[: max(0, count)]:
            holder.holding.let_go()

    def _leave_if_surplus(self, is_surplus: bool) -> None:
        """Frees the worker of a task that is one too many."""
        is_surplus = is_surplus and self._place.purpose == "celery"
        self._surplus_rounds = self._surplus_rounds + 1 if is_surplus else 0
        if self._surplus_rounds >= SURPLUS_ROUNDS:
            self._seat.stop.set()

    async def _begin(self) -> None:
        """Begins with some of the streams that were claimed."""
        group = [self._coming[n] for n in range(min(BEGIN_AT_ONCE, len(self._coming)))]
        rows = Stream.objects.using(self._place.using)
        streams = await self._seat.threads.run_for_lease(
            rows.in_bulk, [each.stream_pk for each in group]
        )
        for each in group:
            self._coming.popleft()
            if (stream := streams.get(each.stream_pk)) is not None:
                self._hold(each, stream)

    def _hold(self, claimed: Claim, stream: Stream) -> None:
        holder = Holder(
            stream,
            self._seat,
            claimed.token,
            until_up_to_date=self._until_up_to_date,
            goes_on=claimed.goes_on,
        )
        self._holders[stream.pk] = holder
        self._seat.watcher.began(stream)
        task = asyncio.create_task(holder.run())
        self._tasks.add(task)
        task.add_done_callback(partial(self._end, holder))

    def _end(self, holder: Holder, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            if self._capacity:
                logger.error("%s: it ended unexpectedly.", holder.stream, exc_info=error)
            else:
                self._failure = error

        del self._holders[holder.stream.pk]
        ended = self._kept if self.hands_over and self._seat.stop.is_set() else self._ended
        ended.append(holder)
        self._seat.watcher.ended(holder.stream)
        self._wake.set()

    def _return(self, count: int) -> int:
        """Returns so many streams, or fewer, that were claimed and have not begun; how many."""
        pks = [self._coming.pop().stream_pk for _ in range(min(max(0, count), len(self._coming)))]
        self._unbegun += pks
        return len(pks)

    async def _give_back(self) -> None:
        ended, unbegun = list(self._ended), list(self._unbegun)
        await self._seat.threads.run_for_lease(self._free, ended, unbegun)
        # Others may have ended meanwhile.
        del self._ended[: len(ended)], self._unbegun[: len(unbegun)]

    def _free(self, ended: list[Holder], unbegun: list[int]) -> None:
        """Gives leases back. Called in a thread."""
        self._tell_lags(ended)
        at_tail = [each.stream.pk for each in ended if each.has_reached_tail]
        others = [each.stream.pk for each in ended if not each.has_reached_tail] + unbegun
        if others:
            give_back(self._place, others)
        if at_tail:
            give_back(self._place, at_tail, at_tail=True)

    def _tell_lags(self, ended: list[Holder]) -> None:
        """Writes down how far the rows lag, which the next holders go by."""
        notes = [each.lag.note() for each in ended if each.lag.has_changed]
        if notes:
            write_lags(self._place.using, notes)

    async def _look(self) -> None:
        held = list(self._holders.items())
        seen = await self._seat.threads.run_for_lease(look_at_held, self._place)
        for pk, holder in held:
            if self._holders.get(pk) is not holder:
                continue  # it has ended meanwhile
            token, now = seen.get(pk, (None, None))
            if now is None or token != holder.holding.token:
                holder.holding.lose()
            else:
                holder.notice(now)

    async def _pass_time(self) -> None:
        for holder in list(self._holders.values()):
            holder.pass_time()
