"""Which streams want a consumer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from django.db.models import Q, QuerySet
from django.utils import timezone

from durable_state.conf import get_settings
from durable_state.models import Arrival, Status, Stream

from . import spread
from .lease import valid_leases
from .replay import replayable
from .seating import Occupied, announce, occupied

__all__ = ["Demand", "announce_missing", "find_demand", "runnable"]

ENDED = (Status.HALTED, Status.CLOSED, Status.NEEDS_RESET)


def runnable(using: str) -> QuerySet[Stream]:
    """The streams that want a consumer and have none."""
    held = valid_leases(using).values("stream_id")

    # A closed stream has nothing more to read, but what it has parked may wait for another stream.
    ended = Q(status__in=ENDED) & ~Q(
        status=Status.CLOSED, pk__in=Arrival.objects.using(using).values("stream_id")
    )

    due = Q(retry_at=None) | Q(retry_at__lte=timezone.now())
    wanted = (due & ~ended) | Q(pk__in=replayable(using).filter(due).values("stream_id"))

    streams = Stream.objects.using(using).filter(wanted, paused=False).exclude(pk__in=held)
    return streams.order_by("pk")


class Demand(NamedTuple):
    """Who consumes, and what nobody consumes."""

    seats: Sequence[Occupied]
    free: Sequence[int]
    """The primary keys of the streams that want a consumer and have none."""

    @property
    def missing_seats(self) -> int:
        """How many more the streams need."""
        wanted = sum(seat.held for seat in self.seats) + len(self.free)
        return max(0, spread.seats_needed(get_settings(), wanted) - len(self.seats))


def find_demand(using: str) -> Demand:
    """How things are now; what belonged to seats that are no more is free."""
    return Demand(occupied(using), list(runnable(using).values_list("pk", flat=True)))


def announce_missing(using: str, purpose: str) -> int:
    """Keeps a place for each seat that the streams need and that is not there.

    Returns for how many of them a task is to be sent now.
    """
    missing = find_demand(using).missing_seats
    for _ in range(missing):
        announce(using, purpose, get_settings().seat_streams)
    return missing
