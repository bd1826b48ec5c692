"""Taking, keeping and giving back the right to consume a stream.

Why: decision 7.
"""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Collection
from datetime import timedelta
from typing import Any, NamedTuple

from django.db import models
from django.db.models import ExpressionWrapper, F, Q, Value
from django.db.models.functions import Coalesce

from durable_state.conf import get_settings
from durable_state.databases.clock import ServerNow
from durable_state.models import Lease, Stream

__all__ = [
    "UNATTENDED",
    "Attendance",
    "acquire",
    "attendances",
    "give_back",
    "holder_name",
    "renew",
    "valid_leases",
]


def holder_name(purpose: str) -> str:
    """Names this process and what it does: ``host:pid:purpose:nonce``."""
    return f"{socket.gethostname()[:150]}:{os.getpid()}:{purpose}:{uuid.uuid4().hex[:8]}"


def acquire(stream: Stream, holder: str) -> int | None:
    """Takes the lease and returns its fencing token, or None where another holder's is valid.

    The compare-and-set is one UPDATE on the database's clock. The lease of a process of this
    machine that is no longer alive is taken at once.
    """
    leases = Lease.objects.using(stream.using)
    lease, _ = leases.get_or_create(stream_id=stream.pk)

    free = leases.filter(pk=lease.pk, token=lease.token)
    if not _holder_is_dead(lease.holder):
        free = free.filter(Q(expires_at=None) | Q(expires_at__lt=ServerNow()))

    taken = free.update(
        token=F("token") + 1,
        holder=holder,
        expires_at=_expiry(),
        # Nobody knows what has come since the last sign of life.
        lags_since=Coalesce("lags_since", "seen_at", Value(stream.created_at)),
        lags_because=Lease.Lag.TAKEN,
        seen_at=ServerNow(),
        left_at_tail=False,
    )
    return lease.token + 1 if taken else None


def renew(stream: Stream, token: int) -> bool:
    """Keeps the lease for another ``LEASE_SECONDS``; False where it is another's by now."""
    ours = Lease.objects.using(stream.using).filter(stream_id=stream.pk, token=token)
    return bool(ours.update(expires_at=_expiry(), seen_at=ServerNow()))


def give_back(stream: Stream, token: int, *, at_tail: bool = False) -> None:
    """Gives the lease back, if it is still ours.

    ``at_tail`` says that the holder was to read up to the tail only, and did: nobody is missed
    afterwards.
    """
    ours = Lease.objects.using(stream.using).filter(stream_id=stream.pk, token=token)
    columns: dict[str, Any] = {"lags_since": None, "lags_because": ""} if at_tail else {}
    ours.update(holder="", expires_at=None, seen_at=ServerNow(), left_at_tail=at_tail, **columns)


def valid_leases(using: str | None) -> models.QuerySet[Lease]:
    """The leases that are in force now."""
    return Lease.objects.using(using).filter(expires_at__gte=ServerNow())


class Attendance(NamedTuple):
    """Who looks after a stream."""

    holder: str
    """Has a lease that is in force, and is not known to be dead; "" is nobody."""

    idle: timedelta | None
    """How long ago a holder last showed a sign of life; None where there never was one."""

    left_at_tail: bool
    """Whether the last holder was to read up to the tail only, and did."""

    lag: timedelta | None
    """How long ago the rows were last known to hold all; None where nobody ever looked."""

    lags_because: str
    """A ``Lease.Lag``; "" where the last holder knew of nothing that they do not hold."""


UNATTENDED = Attendance("", None, False, None, "")
"""Nobody has ever looked."""


def attendances(using: str, stream_pks: Collection[int]) -> dict[int, Attendance]:
    """Who looks after these streams, by primary key, on the database's clock: one query."""
    # Reckoned by the database: in Python, moments may be local times, which jump twice a year.
    leases = (
        Lease.objects.using(using)
        .filter(stream__in=stream_pks)
        .annotate(
            is_held=models.Exists(valid_leases(using).filter(pk=models.OuterRef("pk"))),
            idle=_age(F("seen_at")),
            lag=_age(F("lags_since")),
        )
    )
    columns = ("stream_id", "holder", "is_held", "idle", "left_at_tail", "lag", "lags_because")
    return {pk: _attendance(*each) for pk, *each in leases.values_list(*columns)}


def _attendance(
    holder: str,
    is_held: bool,
    idle: timedelta | None,
    left_at_tail: bool,
    lag: timedelta | None,
    lags_because: str,
) -> Attendance:
    holder = holder if is_held and not _holder_is_dead(holder) else ""
    idle = None if idle is None else max(idle, timedelta(0))
    if lag is None:
        # Three renewals of the lease come in its time: until one is overdue, its holder listens.
        overdue = timedelta(seconds=get_settings().lease_seconds / 2)
        is_heard = holder and idle is not None and idle < overdue
        lag = timedelta(0) if is_heard else idle
    lag = None if lag is None else max(lag, timedelta(0))
    return Attendance(holder, idle, left_at_tail, lag, lags_because)


def _age(moment: Any) -> ExpressionWrapper[Any]:
    return ExpressionWrapper(ServerNow() - moment, output_field=models.DurationField())


def _expiry() -> ExpressionWrapper[Any]:
    return ExpressionWrapper(
        ServerNow() + Value(timedelta(seconds=get_settings().lease_seconds)),
        output_field=models.DateTimeField(),
    )


def _holder_is_dead(holder: str) -> bool:
    host, _, rest = holder.partition(":")
    pid = rest.partition(":")[0]
    if host != socket.gethostname()[:150] or not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False
