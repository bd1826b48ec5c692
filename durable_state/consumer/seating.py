"""The table of seats: joining, renewing, leaving, and reserving a seat for a successor.

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
"""The purpose of the seats of Celery tasks."""
logger = logging.getLogger("durable_state.consumer")

HAND_OVER_SECONDS = 5.0
"""Seconds for which streams are reserved for the successor of their seat."""


class Place(NamedTuple):
    """A seat, as the process that fills it knows it."""

    using: str
    pk: int
    name: str

    @property
    def purpose(self) -> str:
        """Who fills it: celery, run or sync."""
        return self.name.split(":")[2]


class Occupied(NamedTuple):
    """A seat, as others see it."""

    pk: int
    name: str
    capacity: int
    is_vacant: bool
    held: int
    """The number of leases it holds."""


def valid_seats(using: str | None) -> QuerySet[Seat]:
    """The seats that have not expired."""
    return Seat.objects.using(using).filter(expires_at__gte=ServerNow())


def occupied(using: str) -> list[Occupied]:
    """The valid seats that claim streams by themselves, in the order in which they joined.

    Frees the leases of all other seats: those that have expired, and those whose process, on this
    machine, is known to be dead. Ends their sessions on the database server, which may be frozen in
    the middle of a commit.
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
    """Adds a seat. Without a ``capacity``, it claims no streams by itself.

    ``nonce`` identifies the sessions that are to be ended once it has expired.
    """
    return _place(using, name_process(purpose, nonce), capacity=capacity)


def announce(using: str, purpose: str, capacity: int) -> Place:
    """Reserves a seat for a task that is sent now, for ``LEASE_SECONDS``."""
    return _place(using, f"::{purpose}:", capacity=capacity, is_vacant=True)


def take_vacant(using: str, purpose: str, capacity: int, nonce: str = "") -> Place | None:
    """Fills a reserved seat, and takes over the streams that come with it.

    None if no seat is reserved. Each lease changes hands, so its fencing token grows.
    """
    name = name_process(purpose, nonce)
    for pk in valid_seats(using).filter(is_vacant=True).order_by("pk").values_list("pk", flat=True):
        with commit_transaction(using):
            kept = valid_seats(using).filter(pk=pk, is_vacant=True)
            seen_at = kept.select_for_update().values_list("seen_at", flat=True).first()
            if seen_at is None:
                continue  # another process was quicker

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
    """Renews the seat, and with it all its leases, for another ``LEASE_SECONDS``.

    False if it is gone, because it had expired.
    """
    return bool(_ours(place).update(**_alive()))


def vacate(place: Place) -> None:
    """Reserves the seat and its streams for a successor that is sent now."""
    _ours(place).update(is_vacant=True, seen_at=ServerNow(), expires_at=_after(HAND_OVER_SECONDS))


def leave(place: Place) -> None:
    """Removes the seat, and frees the leases it still has."""
    _free(place.using, _ours(place))


def _place(using: str, name: str, **columns: Any) -> Place:
    seat = Seat.objects.using(using).create(name=name, joined_at=ServerNow(), **_alive(), **columns)
    return Place(using, seat.pk, name)


def _ours(place: Place) -> QuerySet[Seat]:
    """Our row; none if another process has it by now."""
    return Seat.objects.using(place.using).filter(pk=place.pk, name=place.name, is_vacant=False)


def _free(using: str, seat: QuerySet[Seat]) -> bool:
    """Frees the seat's leases and deletes it. False if it was renewed in the meantime."""
    with commit_transaction(using):
        # While it is locked, nobody can renew it or take it.
        gone = seat.select_for_update().values_list("pk", "seen_at").first()
        if gone is not None:
            pk, seen_at = gone
            Lease.objects.using(using).filter(seat=pk).update(seat=None, seen_at=seen_at)
            Seat.objects.using(using).filter(pk=pk).delete()
    return gone is not None


def _end_sessions(using: str, name: str) -> None:
    """Ends the sessions, and so the locks, that the process of that name has left on the server.

    Its fencing tokens are void already. If the database role may not end sessions, the locks are
    waited for.
    """
    if not (nonce := nonce_of(name)):
        return  # it was reserved, and nobody came
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
