"""Leases: taking and giving back the right to consume a stream, and telling who has it.

Why: decisions 7 and 47.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from typing import Any, NamedTuple

from django.db import connections
from django.db.models import (
    Case,
    DurationField,
    Exists,
    ExpressionWrapper,
    F,
    OuterRef,
    QuerySet,
    Value,
    When,
)
from django.db.models.functions import Coalesce

from durable_state.conf import get_settings
from durable_state.databases.clock import ServerNow
from durable_state.databases.contention import retry_on_deadlocks
from durable_state.databases.transaction import commit_transaction
from durable_state.models import Lease

from .process_names import is_known_dead
from .seating import Place, valid_seats

__all__ = [
    "UNATTENDED",
    "Attendance",
    "Claim",
    "attendances",
    "claim",
    "claims_of",
    "give_back",
    "holder_of",
    "living_seats",
    "valid_leases",
]

FRESH = timedelta(seconds=10)
"""How long a stream counts as still consumed after its last holder gave it back."""


class Claim(NamedTuple):
    """A lease that a seat has taken."""

    stream_pk: int
    token: int
    goes_on: bool
    """Whether the stream was consumed until now."""


def claim(place: Place, stream_pks: Collection[int]) -> list[Claim]:
    """Takes the leases that nobody holds, of these streams.

    Invariant: a free lease goes to exactly one seat, by one UPDATE that compares, whoever else
    claims it at the same time. Leases that another seat is claiming are skipped, where the database
    can do that, instead of waited for.
    Raises: IntegrityError, if the seat itself is gone.
    """
    return retry_on_deadlocks(lambda: _claim(place, stream_pks))


def _claim(place: Place, stream_pks: Collection[int]) -> list[Claim]:
    leases = Lease.objects.using(place.using)
    passes_by = connections[place.using].features.has_select_for_update_skip_locked

    known = set(leases.filter(pk__in=stream_pks).values_list("pk", flat=True))
    missing = [Lease(stream_id=pk) for pk in stream_pks if pk not in known]
    if missing:
        leases.bulk_create(missing, ignore_conflicts=True)

    with commit_transaction(place.using):
        free = leases.filter(pk__in=stream_pks, seat=None).order_by("pk")
        told = free.select_for_update(skip_locked=passes_by).annotate(
            is_fresh=Case(When(seen_at__gte=ServerNow() - Value(FRESH), then=True), default=False)
        )
        fresh = dict(told.values_list("pk", "is_fresh"))
        if not fresh:
            return []

        leases.filter(pk__in=list(fresh), seat=None).update(
            token=F("token") + 1,
            seat=place.pk,
            # Nobody knows what has come since the last sign of life.
            lags_since=Coalesce("lags_since", "seen_at", ServerNow()),
            lags_because=Lease.Lag.TAKEN,
            seen_at=ServerNow(),
            left_at_tail=False,
        )
        ours = leases.filter(pk__in=list(fresh), seat=place.pk)
        return [Claim(pk, token, fresh[pk]) for pk, token in ours.values_list("pk", "token")]


def claims_of(place: Place) -> list[Claim]:
    """The leases of a seat that was taken over with its streams."""
    ours = Lease.objects.using(place.using).filter(seat=place.pk).order_by("pk")
    return [Claim(pk, token, True) for pk, token in ours.values_list("pk", "token")]


def give_back(place: Place, stream_pks: Collection[int], *, at_tail: bool = False) -> None:
    """Gives back the leases that still belong to the seat.

    ``at_tail`` says that the holder only had to read up to the tail, and did, so the stream needs
    no other holder afterwards.
    """
    ours = Lease.objects.using(place.using).filter(seat=place.pk, pk__in=stream_pks)
    columns: dict[str, Any] = {"lags_since": None, "lags_because": ""} if at_tail else {}
    ours.update(seat=None, seen_at=ServerNow(), left_at_tail=at_tail, **columns)


def valid_leases(using: str | None) -> QuerySet[Lease]:
    """The leases that have not expired."""
    return Lease.objects.using(using).filter(seat__expires_at__gte=ServerNow())


def holder_of(using: str, stream_pk: int) -> str:
    """The name of the stream's holder; empty if there is none."""
    held = valid_leases(using).filter(pk=stream_pk).values_list("seat__name", flat=True)
    return held.first() or ""


class Attendance(NamedTuple):
    """Who consumes a stream, and how well its rows follow it."""

    holder: str
    """The seat with a valid lease whose process is not known to be dead; empty if none."""

    idle: timedelta | None
    """How long ago a holder last showed a sign of life; None if there never was one."""

    left_at_tail: bool
    """Whether the last holder only had to read up to the tail, and did."""

    lag: timedelta | None
    """How long ago the rows were last known to be complete; None if that was never known."""

    lags_because: str
    """A ``Lease.Lag``; empty if the rows lacked nothing that the last holder knew of."""


UNATTENDED = Attendance("", None, False, None, "")
"""For a stream that nobody has ever consumed."""


def attendances(using: str, stream_pks: Collection[int]) -> dict[int, Attendance]:
    """The attendance of these streams by primary key, on the database's clock, in one query."""
    # Computed by the database: in Python, moments may be local times, which jump twice a year.
    leases = (
        Lease.objects.using(using)
        .filter(stream__in=stream_pks)
        .annotate(
            is_held=Exists(valid_seats(using).filter(pk=OuterRef("seat"))),
            idle=_age(Coalesce("seat__seen_at", "seen_at")),
            lag=_age(F("lags_since")),
        )
    )
    columns = ("stream_id", "seat__name", "is_held", "idle", "left_at_tail", "lag", "lags_because")
    read = list(leases.values_list(*columns))
    # One process holds many streams, so it is checked only once.
    names = {name for _pk, name, *_others in read if name}
    dead = {name for name in names if is_known_dead(name)}
    return {pk: _attendance("" if name in dead else name, *others) for pk, name, *others in read}


def living_seats(using: str) -> list[int]:
    """Primary keys of the valid seats whose processes are not known to be dead."""
    seats = valid_seats(using).values_list("pk", "name")
    return [pk for pk, name in seats if not is_known_dead(name)]


def _attendance(
    holder: str,
    is_held: bool,
    idle: timedelta | None,
    left_at_tail: bool,
    lag: timedelta | None,
    lags_because: str,
) -> Attendance:
    holder = holder if is_held else ""
    idle = None if idle is None else max(idle, timedelta(0))
    if lag is None:
        # A seat is renewed three times per lease: until that is overdue, its holder is alive.
        overdue = timedelta(seconds=get_settings().lease_seconds / 2)
        is_heard = holder and idle is not None and idle < overdue
        lag = timedelta(0) if is_heard else idle
    lag = None if lag is None else max(lag, timedelta(0))
    return Attendance(holder, idle, left_at_tail, lag, lags_because)


def _age(moment: Any) -> ExpressionWrapper[Any]:
    return ExpressionWrapper(ServerNow() - moment, output_field=DurationField())
