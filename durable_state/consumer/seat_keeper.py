"""Keeps a seat: the work that is done once for all its streams."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

import django.db

from durable_state import feed
from durable_state.conf import get_settings
from durable_state.models import Stream, StreamSample

from . import spread
from .claiming import find_demand
from .held_streams import Ended, HeldStreams
from .holder import Holder
from .lag import write_lags
from .lease import Claim, claim, give_back
from .left_to_others import is_left_to_others
from .looking import look_at_held
from .samples import SAMPLE_SECONDS, delete_samples, write_samples
from .seat import Seat
from .seating import CELERY, Place, join, leave, renew, vacate

__all__ = ["SeatKeeper"]

logger = logging.getLogger("durable_state.consumer")

CLAIM_SECONDS = 1.0
"""Seconds between two searches for streams without a consumer."""
LOOK_SECONDS = 2.0
"""Seconds between two checks for what others have changed about the streams of the seat."""
PASS_SECONDS = 1.0
"""Seconds between two calls of ``Holder.pass_time``."""
BEGIN_SECONDS = 0.2
"""Seconds between two groups of streams that are started, so that not all start at once."""
BEGIN_AT_ONCE = 40
"""Streams in one such group."""
SURPLUS_ROUNDS = 5
"""How many searches in a row must find the seat superfluous before it is given up."""
FEW_ROWS = 100
"""Outdated rows of each kind that a seat of one stream deletes each time it writes samples."""
GRACE_SECONDS = 2.0
"""Seconds that the current batches have to finish before all streams go to one successor."""


@dataclass(slots=True)
class _Round:
    """A step that is repeated at an interval."""

    step: Callable[[], Awaitable[None]]
    seconds: float
    due: float = 0.0


class SeatKeeper:
    """Keeps one seat: renews it, claims its fair share of the streams and gives up any surplus,
    notices what others have changed, and gives back the leases of streams that have ended.

    Invariant: its statements run on a connection of their own, which no commit holds up, and their
    number does not depend on how many streams there are. A stream's holder is told only when
    something has changed.
    """

    def __init__(
        self, seat: Seat, place: Place, *, capacity: int = 0, until_up_to_date: bool = False
    ) -> None:
        """Without a ``capacity``, it claims no streams by itself."""
        self._seat = seat
        self._place = place
        self._capacity = capacity
        self._streams = HeldStreams(seat, until_up_to_date=until_up_to_date)
        self._begins_from = 0.0
        self._surplus_rounds = 0
        self._is_away = False

        third = get_settings().lease_seconds / 3
        self._renewing = _Round(self._renew, third, time.monotonic() + third)
        self._looking = _Round(self._look, min(LOOK_SECONDS, third))
        self._rounds = [
            self._looking,
            _Round(self._pass_time, PASS_SECONDS),
            _Round(self._sample, SAMPLE_SECONDS, time.monotonic() + SAMPLE_SECONDS),
        ]
        if capacity:
            self._rounds.insert(0, _Round(self._claim, min(CLAIM_SECONDS, third)))

    @property
    def hands_over(self) -> bool:
        """Whether the seat and its streams are reserved for a successor."""
        return self._streams.is_keeping

    async def run(self, claims: Iterable[Claim] = ()) -> None:
        """Consumes these streams, and those it claims, until the seat is asked to stop; then gives
        the seat up.

        A seat that claims no streams by itself ends when the given ones have ended.
        Raises: the unexpected error that ended one of them.
        """
        self._streams.coming.extend(claims)
        stopping = asyncio.create_task(self._seat.stop.wait())
        stopping.add_done_callback(lambda _: self._streams.has_changed.set())
        try:
            while True:
                await self._take_turns()
                if self._is_over():
                    break
                await self._rest()
        finally:
            stopping.cancel()
            self._seat.stop.set()
            await self._streams.all_ended()
            with contextlib.suppress(django.db.Error):
                await self._seat.threads.run_for_lease(self._give_up)

        if self._streams.failure is not None and not self._capacity:
            raise self._streams.failure

    def hand_over(self) -> None:
        """Asks the seat to stop, and reserves it with its streams for the successor to be sent.

        If a batch takes long, the reservation soon ends, and other seats take what is free.
        """
        self._streams.is_keeping = bool(self._streams.holders or self._streams.coming)
        self._seat.stop.set()
        asyncio.get_running_loop().call_later(GRACE_SECONDS, self._streams.stop_keeping)

    def _give_up(self) -> None:
        """Gives the seat up, either for good or to a successor. Called in a thread."""
        self._tell_lags(self._streams.kept)
        (vacate if self.hands_over else leave)(self._place)
        self._write_samples(self._seat.samples.take([]))

    def _is_over(self) -> bool:
        if self._seat.stop.is_set():
            return self._streams.is_empty
        return self._streams.is_empty and not (self._streams.coming or self._capacity)

    async def _take_turns(self) -> None:
        """Runs each step that is due."""
        for each in self._current_rounds():
            if time.monotonic() >= each.due:
                await self._attempt(each.step)
                each.due = time.monotonic() + each.seconds

        begins = bool(self._streams.coming) and not self._seat.stop.is_set()
        if begins and time.monotonic() >= self._begins_from:
            await self._attempt(self._begin)
            self._begins_from = time.monotonic() + BEGIN_SECONDS

        if self._streams.ended != Ended([], []):
            await self._attempt(self._give_back)

    async def _rest(self) -> None:
        """Waits until something is due, or a stream has ended."""
        due = min(each.due for each in self._current_rounds())
        if self._streams.coming and not self._seat.stop.is_set():
            due = min(due, self._begins_from)
        with contextlib.suppress(TimeoutError):
            waiting = self._streams.has_changed.wait()
            await asyncio.wait_for(waiting, max(0.01, due - time.monotonic()))
        self._streams.has_changed.clear()

    def _current_rounds(self) -> list[_Round]:
        return [self._renewing, *([] if self._seat.stop.is_set() else self._rounds)]

    async def _attempt(self, step: Callable[[], Awaitable[None]]) -> None:
        try:
            await step()
        except django.db.Error as error:
            if not self._is_away:  # once for each outage
                logger.warning("Could not ask the database about its streams: %s", error)
            self._is_away = True
        else:
            self._is_away = False

    async def _renew(self) -> None:
        ask, place = self._seat.threads.run_for_lease, self._place
        if await ask(renew, place):
            return

        # It had expired, so other seats may have taken its streams.
        logger.warning("The seat %s has expired; others have taken over its streams.", place.name)
        self._streams.lose_all()
        if self._capacity:
            nonce = self._seat.threads.nonce
            self._place = await ask(join, place.using, place.purpose, self._capacity, nonce)

    async def _claim(self) -> None:
        ask, place = self._seat.threads.run_for_lease, self._place
        seats, free = await ask(find_demand, place.using)
        held = self._streams.holders
        free = [pk for pk in free if pk not in held and not is_left_to_others(place.using, pk)]
        if place.pk not in [each.pk for each in seats]:
            return  # it has expired, which the next renewal notices

        if wanted := spread.choose(seats, place.pk, free):
            self._streams.coming.extend(await ask(claim, place, wanted))
            self._looking.due = 0.0
            return

        if surplus := spread.surplus(seats, place.pk, len(free)):
            ending = sum(holder.holding.ends for holder in self._streams.holders.values())
            self._streams.let_go(surplus - ending)

        # A superfluous task ends, which frees its worker.
        is_surplus = spread.is_surplus(seats, place.pk, len(free), get_settings())
        self._surplus_rounds = self._surplus_rounds + 1 if is_surplus else 0
        if self._surplus_rounds >= SURPLUS_ROUNDS and place.purpose == CELERY:
            self._seat.stop.set()

    async def _begin(self) -> None:
        """Starts consuming some of the claimed streams."""
        group = self._streams.take_coming(BEGIN_AT_ONCE)
        rows = Stream.objects.using(self._place.using)
        try:
            streams = await self._seat.threads.run_for_lease(
                rows.in_bulk, [each.stream_pk for each in group]
            )
        except BaseException:
            self._streams.coming.extendleft(reversed(group))
            raise
        for each in group:
            if (stream := streams.get(each.stream_pk)) is not None:
                self._streams.hold(each, stream)

    async def _give_back(self) -> None:
        ended = self._streams.ended_by_now()
        await self._seat.threads.run_for_lease(self._free, ended)
        self._streams.forget(ended)

    def _free(self, ended: Ended) -> None:
        """Gives back the leases of these streams. Called in a thread."""
        self._tell_lags(ended.holders)
        at_tail = [each.stream.pk for each in ended.holders if each.has_reached_tail]
        others = [each.stream.pk for each in ended.holders if not each.has_reached_tail]
        give_back(self._place, others + ended.unbegun)
        if at_tail:
            give_back(self._place, at_tail, at_tail=True)

    def _tell_lags(self, ended: list[Holder]) -> None:
        """Stores how far the rows lag, for the next holders."""
        notes = [each.lag.note() for each in ended if each.lag.has_changed]
        if notes:
            write_lags(self._place.using, notes)

    async def _look(self) -> None:
        held = list(self._streams.holders.items())
        seen = await self._seat.threads.run_for_lease(look_at_held, self._place)
        for pk, holder in held:
            if self._streams.holders.get(pk) is not holder:
                continue  # it has ended in the meantime
            token, now = seen.get(pk, (None, None))
            if now is None or token != holder.holding.token:
                holder.holding.lose()
            else:
                holder.notice(now)

    async def _sample(self) -> None:
        """Stores what has happened to the streams since the last sample."""
        if samples := self._seat.samples.take(self._seat.lags):
            await self._seat.threads.run_for_lease(self._write_samples, samples)

    def _write_samples(self, samples: list[StreamSample]) -> None:
        """Called in a thread."""
        write_samples(self._place.using, samples)
        if samples and not self._capacity:  # beside a `sync`, nobody else may ever tidy
            for delete in (delete_samples, feed.prune, feed.prune_held):
                delete(self._place.using, FEW_ROWS)

    async def _pass_time(self) -> None:
        for holder in list(self._streams.holders.values()):
            holder.pass_time()
