"""Consumes streams: one in the foreground, all of a database, or a share for a slice of time."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from durable_state.conf import get_settings
from durable_state.databases.callers import CallerState
from durable_state.databases.clock import database_now
from durable_state.errors import OperationRefused
from durable_state.models import Replay, Status, Stream

from .claiming import count_missing
from .lease import Claim, claim, claims_of, holder_of
from .left_to_others import is_left_to_others
from .open_files import allow_open_files
from .seat import Seat, open_seat, stop_signals
from .seat_keeper import SeatKeeper
from .seating import CELERY, Place, join, leave, occupied, take_vacant
from .surroundings import begin_in
from .wake_listener import WakeListener
from .watcher import NOBODY, Watcher

__all__ = ["consume_slice", "run_all", "sync"]

logger = logging.getLogger("durable_state.consumer")

WAIT_SECONDS = 1.0
"""Seconds between two checks whether a lease has become free."""
LEAVE_SECONDS = 0.3
"""Seconds until a request to a worker to end is noticed."""
_STOPPED: dict[str, str] = {Status.HALTED: "has halted", Status.NEEDS_RESET: "needs a reset"}


def sync(
    stream: Stream,
    *,
    until_up_to_date: bool = False,
    watcher: Watcher = NOBODY,
) -> None:
    """Consumes one stream in the foreground until it is closed, stopped by a signal, or at its tail
    (``until_up_to_date``).

    Waits for a lease that another holder has, naming it to the ``watcher``. Raises:
    OperationRefused, if the stream is paused, removed, or stopped by an error that needs a person;
    and if no consumer can run here.
    """
    asyncio.run(_sync(stream, begin_in(stream.using), until_up_to_date, watcher))
    _check_outcome(stream)


def _check_outcome(stream: Stream) -> None:
    """Raises: OperationRefused, if the stream cannot continue by itself."""
    try:
        stream.refresh_from_db(using=stream.using)
    except Stream.DoesNotExist as error:
        raise OperationRefused(
            f"The stream {stream.name!r} is no longer there.", "It was removed in the meantime."
        ) from error

    if stream.paused:
        raise OperationRefused(
            f"The stream {stream.name!r} is paused.",
            f"Continue with: manage.py durable_state resume {stream.name}",
        )

    if is_left_to_others(stream.using, stream.pk):
        raise OperationRefused(stream.last_error, stream.action)

    replay = Replay.objects.using(stream.using).filter(stream=stream).first()
    for progress, what in (
        (replay, f"The replay of the stream {stream.name!r}"),
        (stream, f"The stream {stream.name!r}"),
    ):
        if progress is not None and progress.status in _STOPPED:
            # With the detail: whoever runs this has access to the tables anyway.
            why = f"{progress.last_error} {progress.last_error_detail}".strip()
            action = progress.action
            if progress.status == Status.HALTED and "resume" not in action:
                action = f"{action} Then: durable_state resume {stream.name}".strip()
            raise OperationRefused(f"{what} {_STOPPED[progress.status]}: {why}", action)


def run_all(using: str, watcher: Watcher = NOBODY) -> None:
    """Consumes the streams of a database, live, until a signal ends it.

    Any number of these and of Celery workers share the streams evenly.
    """
    asyncio.run(_run_all(begin_in(using), watcher))


def consume_slice(
    using: str, asks_to_end: Callable[[], bool] = lambda: False, seconds: float | None = None
) -> bool:
    """Fills a seat for so many ``seconds`` (``SLICE_SECONDS``), or until the worker
    ``asks_to_end``.

    Returns whether the seat is kept, with its streams, for a successor that is to be sent now. Ends
    at once if all seats that the streams need are filled.
    """
    seconds = get_settings().slice_seconds if seconds is None else seconds
    return asyncio.run(_consume_slice(begin_in(using), asks_to_end, seconds))


async def _sync(
    stream: Stream, caller: CallerState, until_up_to_date: bool, watcher: Watcher
) -> None:
    async with stop_signals() as stop, open_seat(stop, caller, watcher=watcher) as seat:
        taken = await _wait_for_lease(stream, seat)
        if taken is not None:
            place, claims = taken
            async with _beside(_end_soon(seat)):
                await SeatKeeper(seat, place, until_up_to_date=until_up_to_date).run(claims)


async def _wait_for_lease(stream: Stream, seat: Seat) -> tuple[Place, list[Claim]] | None:
    """A seat that has the stream's lease; None if it is time to stop before."""
    told = ""
    while not seat.stop.is_set():
        taken = await seat.threads.run_for_lease(_take, stream, seat.threads.nonce)
        if taken is not None:
            return taken

        holder = await seat.threads.run_for_lease(holder_of, stream.using, stream.pk)
        if holder not in ("", told):
            told = holder
            seat.watcher.waits(f"{stream.name} is consumed by {told}; waiting for its lease.")
        await _pause(seat.stop, min(WAIT_SECONDS, get_settings().lease_seconds / 4))
    return None


def _take(stream: Stream, nonce: str) -> tuple[Place, list[Claim]] | None:
    """A seat of its own with the stream's lease, if that can be had."""
    database_now(stream.using)  # from which the event loop counts on
    occupied(stream.using)  # so that the lease of a dead process is free
    if holder_of(stream.using, stream.pk):
        return None
    place = join(stream.using, "sync", nonce=nonce)
    claims = claim(place, [stream.pk])
    if not claims:
        leave(place)
        return None
    return place, claims


async def _run_all(caller: CallerState, watcher: Watcher) -> None:
    async with (
        stop_signals() as stop,
        open_seat(stop, caller, threads=8, watcher=watcher, tidies=True) as seat,
    ):
        using = caller.using
        capacity = get_settings().seat_streams
        allow_open_files(capacity)
        place = await seat.threads.run_for_lease(join, using, "run", capacity, seat.threads.nonce)
        listening = WakeListener(using, seat).run()
        async with _beside(listening), _beside(_end_soon(seat)):
            await SeatKeeper(seat, place, capacity=capacity).run()


async def _consume_slice(
    caller: CallerState, asks_to_end: Callable[[], bool], seconds: float
) -> bool:
    stop, using = asyncio.Event(), caller.using
    async with open_seat(stop, caller) as seat:
        capacity = get_settings().seat_streams
        place = await seat.threads.run_for_lease(_find_place, using, capacity, seat.threads.nonce)
        if place is None:
            return False

        allow_open_files(capacity)
        claims = await seat.threads.run_for_lease(claims_of, place)
        keeper = SeatKeeper(seat, place, capacity=capacity)
        timer = asyncio.get_running_loop().call_later(seconds, keeper.hand_over)
        listening = WakeListener(using, seat).run()
        async with _beside(_stop_when(asks_to_end, seat)), _beside(listening):
            await keeper.run(claims)
        timer.cancel()
        return keeper.hands_over


def _find_place(using: str, capacity: int, nonce: str) -> Place | None:
    """The seat that was reserved, or else a new one, if the streams need one more."""
    if (kept := take_vacant(using, CELERY, capacity, nonce)) is not None:
        return kept
    return join(using, CELERY, capacity, nonce) if count_missing(using) else None


async def _stop_when(asks_to_end: Callable[[], bool], seat: Seat) -> None:
    while not asks_to_end():  # noqa: ASYNC110 - it can only be asked
        await asyncio.sleep(LEAVE_SECONDS)
    seat.stop.set()
    seat.threads.finish_within()


async def _end_soon(seat: Seat) -> None:
    """Once a signal has asked the process to end, shortens all waiting."""
    await seat.stop.wait()
    seat.threads.finish_within()


@asynccontextmanager
async def _beside(coming: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Runs ``coming`` while the block runs."""
    task = asyncio.create_task(coming)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
