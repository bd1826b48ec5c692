"""Leases held by seats that a test invents."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db.models import F

from durable_state.consumer import lease, seating
from durable_state.consumer.process_names import name_process
from durable_state.models import Lease, Seat, Stream

__all__ = [
    "acquire",
    "give_back",
    "holders",
    "let_pass",
    "name_process",
    "renew",
    "was_seen",
]


def acquire(stream: Stream, holder: str) -> int | None:
    """Takes the lease for a seat of this name.

    Returns its fencing token, or None if another has it.
    """
    using = stream.using
    seating.occupied(using)
    place = seating.join(using, "test")
    claims = lease.claim(place, [stream.pk])
    if not claims:
        seating.leave(place)
        return None
    Seat.objects.using(using).filter(pk=place.pk).update(name=holder)
    return claims[0].token


def renew(stream: Stream, token: int | None) -> bool:
    """Renews the seat that has the lease with this token."""
    place = _place(stream, token)
    return place is not None and seating.renew(place)


def give_back(stream: Stream, token: int | None, *, at_tail: bool = False) -> None:
    """Gives the lease with this token back, and its seat up."""
    if (place := _place(stream, token)) is not None:
        lease.give_back(place, [stream.pk], at_tail=at_tail)
        seating.leave(place)


def was_seen(at: datetime, *, expires_at: datetime | None = None, using: str = "default") -> None:
    """Sets the time of the last sign of life of all current and last holders."""
    Lease.objects.using(using).update(seen_at=at)
    seats = Seat.objects.using(using)
    seats.update(seen_at=at, **({} if expires_at is None else {"expires_at": expires_at}))


def let_pass(seconds: float, using: str = "default") -> None:
    """Ages every seat, as if so much time had passed on the database's clock."""
    age = timedelta(seconds=seconds)
    Seat.objects.using(using).update(expires_at=F("expires_at") - age, seen_at=F("seen_at") - age)


def holders(using: str = "default") -> set[str]:
    """Returns the holders of leases, expired or not."""
    held = Lease.objects.using(using).filter(seat__isnull=False)
    return set(held.values_list("seat__name", flat=True))


def _place(stream: Stream, token: int | None) -> seating.Place | None:
    seat = Seat.objects.using(stream.using).filter(leases__pk=stream.pk, leases__token=token or 0)
    row = seat.first()
    return None if row is None else seating.Place(stream.using, row.pk, row.name)
