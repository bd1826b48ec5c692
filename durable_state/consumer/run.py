"""Consuming streams: one in the foreground, all of a database, or some for a slice of time."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Collection

import django.db
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from durable_state.conf import get_settings
from durable_state.errors import OperationRefused
from durable_state.models import Arrival, Lease, Replay, Status, Stream

from . import lease
from .holder import Holder
from .replay import replayable
from .seat import Seat, open_seat, stop_signals
from .upkeep import tidy
from .watcher import NOBODY, Watcher

__all__ = ["consume_slice", "run_all", "runnable", "sync"]

logger = logging.getLogger("durable_state.consumer")

LOOK_SECONDS = 1.0
"""Seconds between two looks for streams that nobody consumes, or for a lease that becomes free."""
TIDY_SECONDS = 60.0
"""Seconds between two prunings."""
ENDED = (Status.HALTED, Status.CLOSED, Status.NEEDS_RESET)
_STOPPED: dict[str, str] = {Status.HALTED: "has halted", Status.NEEDS_RESET: "needs a reset"}


def runnable(using: str) -> QuerySet[Stream]:
    """The streams that want a consumer and have none, those that wait longest first."""
    held = lease.valid_leases(using).values("stream_id")

    # A closed stream has nothing more to read, but what it has parked may wait for another stream.
    ended = Q(status__in=ENDED) & ~Q(
        status=Status.CLOSED, pk__in=Arrival.objects.using(using).values("stream_id")
    )

    due = Q(retry_at=None) | Q(retry_at__lte=timezone.now())
    wanted = (due & ~ended) | Q(pk__in=replayable(using).filter(due).values("stream_id"))

    streams = Stream.objects.using(using).filter(wanted, paused=False).exclude(pk__in=held)
    return streams.order_by(F("dispatched_at").asc(nulls_first=True), "pk")


def sync(
    stream: Stream,
    *,
    until_up_to_date: bool = False,
    watcher: Watcher = NOBODY,
) -> None:
    """Consumes one stream in the foreground until it is closed, stopped by a signal, or at its tail
    (``until_up_to_date``).

    Waits for a lease that another holder has, naming it to the ``watcher``.
    Raises: OperationRefused, when the stream is paused, removed, or stopped by an error that needs
    a person.
    """
    asyncio.run(_sync(stream, until_up_to_date, watcher))
    _check_outcome(stream)


def _check_outcome(stream: Stream) -> None:
    """Raises: OperationRefused, where the stream cannot go on by itself."""
    try:
        stream.refresh_from_db(using=stream.using)
    except Stream.DoesNotExist as error:
        raise OperationRefused(
            f"The stream {stream.name!r} is no longer there.", "It was removed meanwhile."
        ) from error

    if stream.paused:
        raise OperationRefused(
            f"The stream {stream.name!r} is paused.",
            f"Go on with: durable_state resume {stream.name}",
        )

    replay = Replay.objects.using(stream.using).filter(stream=stream).first()
    for progress, what in (
        (replay, f"The replay of the stream {stream.name!r}"),
        (stream, f"The stream {stream.name!r}"),
    ):
        if progress is not None and progress.status in _STOPPED:
            # With the detail: who runs it here has the tables at hand anyway.
            why = f"{progress.last_error} {progress.last_error_detail}".strip()
            raise OperationRefused(f"{what} {_STOPPED[progress.status]}: {why}", progress.action)


def run_all(using: str, watcher: Watcher = NOBODY) -> None:
    """Consumes all streams of a database, live, until a signal ends it.

    Any number of these and of Celery workers share the work.
    """
    asyncio.run(_run_all(using, watcher))


def consume_slice(stream_pks: Collection[int], using: str) -> None:
    """Consumes the streams for ``SLICE_SECONDS``, those whose lease is to be had."""
    asyncio.run(_consume_slice(stream_pks, using))


async def _sync(stream: Stream, until_up_to_date: bool, watcher: Watcher) -> None:
    async with stop_signals() as stop, open_seat("sync", stop, watcher=watcher) as seat:
        token = await _wait_for_lease(stream, seat)
        if token is not None:
            await Holder(stream, token, seat, until_up_to_date=until_up_to_date).run()


async def _wait_for_lease(stream: Stream, seat: Seat) -> int | None:
    """The lease's fencing token; None, where it is time to stop before."""
    holder, told = lease.holder_name(seat.purpose), ""
    leases = Lease.objects.using(stream.using).filter(stream_id=stream.pk)
    while not seat.stop.is_set():
        token = await seat.threads.run(lease.acquire, stream, holder)
        if token is not None:
            return token

        current = await seat.threads.run(leases.first)
        if current is not None and current.holder not in ("", told):
            told = current.holder
            seat.watcher.waits(f"{stream.name} is consumed by {told}; waiting for its lease.")
        await _pause(seat.stop, min(LOOK_SECONDS, get_settings().lease_seconds / 4))
    return None


async def _run_all(using: str, watcher: Watcher) -> None:
    async with stop_signals() as stop, open_seat("run", stop, threads=8, watcher=watcher) as seat:
        holding: dict[int, asyncio.Task[None]] = {}
        tidied = 0.0
        try:
            while not stop.is_set():
                for pk in [pk for pk, task in holding.items() if task.done()]:
                    _report(holding.pop(pk))

                try:
                    if time.monotonic() - tidied > TIDY_SECONDS:
                        tidied = time.monotonic()
                        await seat.threads.run(tidy, using)
                    for stream in await seat.threads.run(lambda: list(runnable(using))):
                        if stream.pk not in holding:
                            holding[stream.pk] = asyncio.create_task(_hold(stream, seat))
                except django.db.Error as error:
                    logger.warning("The database cannot be asked for streams: %s", error)
                await _pause(stop, LOOK_SECONDS)
        finally:
            stop.set()
            await asyncio.gather(*holding.values(), return_exceptions=True)


async def _consume_slice(stream_pks: Collection[int], using: str) -> None:
    stop = asyncio.Event()
    async with open_seat("celery", stop) as seat:
        streams = await seat.threads.run(lambda: list(runnable(using).filter(pk__in=stream_pks)))
        holding = [asyncio.create_task(_hold(stream, seat, goes_on=True)) for stream in streams]
        if holding:
            await asyncio.wait(holding, timeout=get_settings().slice_seconds)
            stop.set()
            await asyncio.gather(*holding, return_exceptions=True)
        for task in holding:
            _report(task)


async def _hold(stream: Stream, seat: Seat, *, goes_on: bool = False) -> None:
    """Consumes the stream, if its lease is to be had."""
    holder = lease.holder_name(seat.purpose)
    token = await seat.threads.run(lease.acquire, stream, holder)
    if token is None:
        return
    seat.watcher.began(stream)
    await Holder(stream, token, seat, goes_on=goes_on).run()
    seat.watcher.ended(stream)


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.error("A stream's holder ended unexpectedly.", exc_info=error)


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
