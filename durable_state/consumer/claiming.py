"""Finds the streams that need a consumer, and the seats that are missing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from django.db.models import Q, QuerySet

from durable_state.conf import get_settings
from durable_state.databases.clock import database_now
from durable_state.models import DOORBELLS, FOLLOWED, Arrival, Status, Stream

from . import spread
from .doorbells import due_doorbells
from .lease import valid_leases
from .replay import replayable
from .seating import Occupied, announce, occupied
from .wakes import has_wake_streams

__all__ = ["Demand", "announce_missing", "count_missing", "find_demand", "runnable"]

ENDED = (Status.HALTED, Status.CLOSED, Status.NEEDS_RESET)


def runnable(using: str) -> QuerySet[Stream]:
    """The streams that need a consumer and have none."""
    held = valid_leases(using).values("stream_id")

    # A closed stream has nothing more to read, but its parked changes may wait for another stream.
    ended = Q(status__in=ENDED) & ~Q(
        status=Status.CLOSED, pk__in=Arrival.objects.using(using).values("stream_id")
    )

    now = database_now(using)
    due = Q(retry_at=None) | Q(retry_at__lte=now)
    wanted = (due & ~ended) | Q(pk__in=replayable(using).filter(due).values("stream_id"))

    streams = Stream.objects.using(using).filter(_candidates(using), wanted, paused=False)
    return streams.exclude(pk__in=held).order_by("pk")


def _candidates(using: str) -> Q:
    """Leaves out streams that only wait for their doorbells, of which there may be very many.

    Uses keys, because the database would scan all streams for conditions on other tables.
    """
    arrivals = Arrival.objects.using(using).values_list("stream_id")
    replays = replayable(using).values_list("stream_id")
    due = due_doorbells(using).order_by().values_list("pk").union(arrivals, replays)

    is_new = Q(live__in=DOORBELLS, status=Status.NEW)
    return Q(live__in=FOLLOWED) | is_new | Q(pk__in=[pk for (pk,) in due])


class Demand(NamedTuple):
    """The seats, and the streams without a consumer."""

    seats: Sequence[Occupied]
    free: Sequence[int]
    """The primary keys of the streams that need a consumer and have none."""


def find_demand(using: str) -> Demand:
    """The current demand, after freeing what belonged to seats that have expired."""
    return Demand(occupied(using), list(runnable(using).values_list("pk", flat=True)))


def count_missing(using: str) -> int:
    """How many more seats are needed, to consume streams or to listen to wake streams."""
    seats, free = find_demand(using)
    wanted = sum(seat.held for seat in seats) + len(free)
    if not wanted and has_wake_streams(using):
        wanted = 1
    return max(0, spread.seats_needed(get_settings(), wanted) - len(seats))


def announce_missing(using: str, purpose: str) -> int:
    """Reserves each seat that the streams need and that is missing.

    Returns how many there are: a task has to be sent for each, now.
    """
    missing = count_missing(using)
    for _ in range(missing):
        announce(using, purpose, get_settings().seat_streams)
    return missing
