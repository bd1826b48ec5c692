"""The table of seats: joining, staying, leaving, and keeping a place for a successor.

Why: decision 47.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any, NamedTuple

import django.db
from django.db.models import (
    Case,
    Count,
    DateTimeField,
    ExpressionWrapper,
    F,
    OuterRef,
    QuerySet,
    Subquery,
    Value,
    When,
)
from django.db.models.functions import Coalesce

from durable_state.conf import get_settings
from durable_state.databases.clock import ServerNow
from durable_state.databases.sessions import end_sessions
from durable_state.databases.transaction import commit_transaction
from durable_state.models import Lease, Seat

from .process_names import is_known_dead, name_process, name_sessions, nonce_of

__all__ = [
    "CELERY",
    "Occupied",
    "Place",
    "announce",
    "join",
    "leave",
    "occupied",
    "renew",
    "take_vacant",
    "vacate",
    "valid_seats",
]

CELERY = "celery"
"""What the seats of Celery tasks are for."""
logger = logging.getLogger("durable_state.consumer")

HAND_OVER_SECONDS = 5.0
"""Seconds for which streams wait for the successor of their seat, and for nobody else."""


class Place(NamedTuple):
    """A seat's row, as the process knows it that sits there."""

    using: str
    pk: int
    name: str

    @property
    def purpose(self) -> str:
        """Who sits there: celery, run or sync."""
        return self.name.split(":")[2]


class Occupied(NamedTuple):
    """A seat as others see it."""

    pk: int
    name: str
    capacity: int
    is_vacant: bool
    held: int
    """How many leases it holds."""


def valid_seats(using: str | None) -> QuerySet[Seat]:
    """Those that are in force now."""
    return Seat.objects.using(using).filter(expires_at__gte=ServerNow())


def occupied(using: str) -> list[Occupied]:
    """The seats in force that take streams of their own accord, those first that joined first.

    The leases of all others that had any are free afterwards: of seats that have expired, and of
    those whose process of this machine is known to be dead. Their sessions on the database server
    are ended, which may have been frozen in the middle of a commit.
    """
    leases = Lease.objects.using(using).filter(seat=OuterRef("pk")).order_by().values("seat")
    counted = Subquery(leases.annotate(count=Count("pk")).values("count"))
    seats = (
        Seat.objects.using(using)
        .order_by("pk")
        .annotate(is_valid=Case(When(expires_at__gte=ServerNow(), then=True), default=False))
    )
    found = list(seats.values_list("is_valid", "pk", "name", "capacity", "is_vacant", counted))

    valid = []
    for is_valid, pk, name, capacity, is_vacant, held in found:
        each = Occupied(pk, name, capacity, is_vacant, held or 0)
        if not is_valid:
            if _free(using, seats.filter(pk=each.pk, expires_at__lt=ServerNow())):
                _end_sessions(using, each.name)
        elif is_known_dead(each.name) and not each.is_vacant:
            if _free(using, seats.filter(pk=each.pk, name=each.name)):
                _end_sessions(using, each.name)
        elif each.capacity:
            valid.append(each)
    return valid


def join(using: str, purpose: str, capacity: int = 0, nonce: str = "") -> Place:
    """A new seat. Without a ``capacity`` it takes no streams of its own accord.

    ``nonce`` is that of the sessions which are to be ended once it has expired.
    """
    return _place(using, name_process(purpose, nonce), capacity=capacity)


def announce(using: str, purpose: str, capacity: int) -> Place:
    """Keeps a place for a task that is sent now, for ``LEASE_SECONDS``."""
    return _place(using, f"::{purpose}:", capacity=capacity, is_vacant=True)


def take_vacant(using: str, purpose: str, capacity: int, nonce: str = "") -> Place | None:
    """Sits down where a place is kept, and takes over the streams that are handed over with it.

    None, where there is no such place. Each lease changes hands, so its token grows.
    """
    name = name_process(purpose, nonce)
    for pk in valid_seats(using).filter(is_vacant=True).order_by("pk").values_list("pk", flat=True):
        with commit_transaction(using):
            kept = valid_seats(using).filter(pk=pk, is_vacant=True)
            seen_at = kept.select_for_update().values_list("seen_at", flat=True).first()
            if seen_at is None:
                continue  # another one was quicker

            # Nobody knows what has come since the last sign of life.
            Lease.objects.using(using).filter(seat=pk).update(
                token=F("token") + 1,
                lags_since=Coalesce("lags_since", Value(seen_at, output_field=DateTimeField())),
                lags_because=Lease.Lag.TAKEN,
                seen_at=ServerNow(),
            )
            kept.update(name=name, capacity=capacity, is_vacant=False, **_alive())
            return Place(using, pk, name)
    return None


def renew(place: Place) -> bool:
    """Keeps the seat, and with it all its leases, for another ``LEASE_SECONDS``.

    False where it is gone, because it had expired.
    """
    return bool(_ours(place).update(**_alive()))


def vacate(place: Place) -> None:
    """Keeps the place, with the streams that it has, for a successor that is sent for now."""
    _ours(place).update(is_vacant=True, seen_at=ServerNow(), expires_at=_after(HAND_OVER_SECONDS))


def leave(place: Place) -> None:
    """Gives the seat up, and all leases that it still has."""
    _free(place.using, _ours(place))


def _place(using: str, name: str, **columns: Any) -> Place:
    seat = Seat.objects.using(using).create(name=name, joined_at=ServerNow(), **_alive(), **columns)
    return Place(using, seat.pk, name)


def _ours(place: Place) -> QuerySet[Seat]:
    """Our row; none where it is another's by now."""
    return Seat.objects.using(place.using).filter(pk=place.pk, name=place.name, is_vacant=False)


def _free(using: str, seat: QuerySet[Seat]) -> bool:
    """Frees the seat's leases and deletes it. False where it was renewed meanwhile."""
    with commit_transaction(using):
        # Under its lock, nobody renews it or takes it any more.
        gone = seat.select_for_update().values_list("pk", "seen_at").first()
        if gone is not None:
            pk, seen_at = gone
            Lease.objects.using(using).filter(seat=pk).update(seat=None, seen_at=seen_at)
            Seat.objects.using(using).filter(pk=pk).delete()
    return gone is not None


def _end_sessions(using: str, name: str) -> None:
    """Ends what the process of that name has left on the server: locks, and what it may send yet.

    Its fencing tokens are void already; where the role may not, its locks are waited for.
    """
    if not (nonce := nonce_of(name)):
        return  # a place that was kept, and that nobody took
    try:
        if ended := end_sessions(using, name_sessions(nonce)):
            logger.warning("Ended %s sessions of %s, whose seat had expired.", ended, name)
    except django.db.Error as error:
        logger.warning("Could not end the sessions of %s, whose seat has expired: %s", name, error)


def _alive() -> dict[str, Any]:
    return {"seen_at": ServerNow(), "expires_at": _after(get_settings().lease_seconds)}


def _after(seconds: float) -> ExpressionWrapper[Any]:
    return ExpressionWrapper(
        ServerNow() + Value(timedelta(seconds=seconds)), output_field=DateTimeField()
    )
