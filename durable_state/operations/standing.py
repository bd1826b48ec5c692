"""The shown statuses of many streams, most of which the database finds by itself.

A report costs about 0.25 ms of processor time, so monitoring and lists of many streams ask for
their standings. Invariant: a status that SQL finds here is the one that ``judge`` gives; whatever
SQL is not certain of is reported in full.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, NamedTuple

from django.db.models import (
    Case,
    CharField,
    DateTimeField,
    Exists,
    ExpressionWrapper,
    F,
    OuterRef,
    Q,
    QuerySet,
    Value,
    When,
)

from durable_state.conf import get_settings
from durable_state.consumer import living_seats
from durable_state.databases.clock import ServerNow, database_now
from durable_state.models import DOORBELLS, FAILING, FOLLOWED, Status, Stream, TypeState
from durable_state.registry import registry

from .bounded_counts import letters_up_to, parked_up_to
from .case import Shown
from .status import reports
from .verdict import PATIENCE

__all__ = ["Standing", "Unapplied", "standings", "unapplied"]

_UNKNOWN = ""


class Standing(NamedTuple):
    """What is shown of a stream first."""

    status: str
    """As ``StreamReport`` has it."""
    stuck: bool
    """Whether the stream waits for a person."""


class Unapplied(NamedTuple):
    """The primary keys of streams with changes that are not applied."""

    dead_letters: set[int]
    parked: set[int]


def standings(streams: QuerySet[Stream]) -> dict[int, Standing]:
    """The status of each of the streams, as ``reports`` has it, by primary key.

    One query for all that are well, or simply have no worker; the others are reported.
    """
    using = streams.db
    shown = streams.order_by().values_list("pk", _shown(using))
    found: dict[int, Standing] = {}
    doubtful = []
    for pk, status in shown:
        if status == _UNKNOWN:
            doubtful.append(pk)
        else:
            found[pk] = Standing(status, stuck=status == Shown.NO_WORKER)
    for pk, report in reports(using, pks=doubtful, count_to=0).items():
        found[pk] = Standing(report.status, report.stuck)
    return found


def unapplied(using: str) -> Unapplied:
    """The streams that have dead letters, and those that have parked changes."""
    pks = list(Stream.objects.using(using).values_list("pk", flat=True).order_by())
    return Unapplied(set(letters_up_to(using, pks, 0)), set(parked_up_to(using, pks, 0)))


def _shown(using: str) -> Case:
    """The status that is shown of a stream, or ``_UNKNOWN`` where more than columns decides it."""
    usual = _is_usual(using)
    is_followed, has_doorbell = Q(live__in=FOLLOWED), Q(live__in=DOORBELLS)
    is_held = Q(lease__seat__in=living_seats(using))
    was_left = Q(lease__left_at_tail=True)
    unknown = Value(_UNKNOWN)

    # The first that holds decides, so what is held, closed or left is not asked about again.
    whens = [
        When(is_held & is_followed & _is_well(using), then=F("status")),
        When(is_held, then=unknown),
        When(is_followed & Q(status=Status.CLOSED), then=F("status")),
        When(Q(status=Status.CLOSED), then=unknown),
        When(has_doorbell & _waits_for_doorbell(), then=Value(Shown.WAITING)),
        When(is_followed & was_left & Q(status=Status.LIVE), then=Value(Shown.UP_TO_DATE)),
        When(is_followed & was_left, then=unknown),
        When(_is_unattended(using), then=Value(Shown.NO_WORKER)),
        When(Q(status=Status.NEW, lease=None), then=F("status")),
    ]
    told = Case(*whens, default=unknown, output_field=CharField())
    return Case(When(usual, then=told), default=unknown, output_field=CharField())


def _is_usual(using: str) -> Q:
    """Nobody has paused it, no error has stopped it, nothing is staged, its types need no reset."""
    is_mapped = (
        Q(unregistered_count=0)
        | Q(applied_count__gt=0)
        | Q(no_row_count__gt=0)
        | Q(parked_count__gt=0)
        | Q(superseded_count__gt=0)
    )
    is_whole = Q(snapshot=None, rebuild=None, replay=None)
    outdated = TypeState.objects.using(using).filter(_may_need_reset(), stream=OuterRef("pk"))
    has_ended = Q(status__in=(Status.HALTED, Status.NEEDS_RESET))
    return Q(~Exists(outdated), is_mapped, is_whole, ~has_ended, paused=False)


def _may_need_reset() -> Q:
    """Types that ``needs_reset``, and a few more: those whose name another stream maps as well."""
    may = Q(needs_reset=True)
    for mapping in registry:
        is_other = Q(type=mapping.entity_type) & ~Q(fingerprint=mapping.fingerprint)
        may |= is_other & (Q(unregistered__gt=0) | ~Q(fingerprint=""))
    return may


def _is_well(using: str) -> Q:
    """The stream, if held, is up to date, on its way there, or has failed for a short time."""
    settings = get_settings()
    lease, now = settings.lease_seconds, database_now(using)
    is_heard = Q(lease__lags_since=None, lease__seat__seen_at__gt=_server_ago(lease / 2))
    is_up_to_date = is_heard | Q(lease__lags_since__gt=_server_ago(lease / 3))
    failed_lately = Q(since__gt=now - timedelta(seconds=settings.stuck_seconds), hangs_in="")
    return (
        Q(status__in=(Status.NEW, Status.CATCHING_UP, Status.CLOSED))
        | (Q(status=Status.LIVE) & is_up_to_date)
        | (Q(status__in=FAILING) & failed_lately)
    )


def _waits_for_doorbell() -> Q:
    """The stream is up to date, and what rings for it works, as far as is known."""
    rings = ~Q(doorbell__confirmed_at=None) | Q(doorbell__last_error="")
    is_listened_to = Q(doorbell__wake_stream=None) | Q(
        doorbell__wake_stream__expires_at__gt=ServerNow()
    )
    return Q(status=Status.LIVE, doorbell__due_at__gt=ServerNow()) & rings & is_listened_to


def _is_unattended(using: str) -> Q:
    """Nobody has looked after a stream that nobody holds, for longer than a handover takes."""
    patience = PATIENCE * get_settings().lease_seconds
    long_ago = database_now(using) - timedelta(seconds=patience)
    long_ago_there = _server_ago(patience)

    def passed(column: str, moment: Any) -> Q:
        return Q(**{column: None}) | Q(**{f"{column}__lt": moment})

    return (
        Q(created_at__lt=long_ago, since__lt=long_ago)
        & passed("up_to_date_at", long_ago)
        & passed("retry_at", long_ago)
        & (Q(live__in=FOLLOWED) | passed("doorbell__due_at", long_ago_there))
        & passed("lease__seen_at", long_ago_there)
        & passed("lease__seat__seen_at", long_ago_there)
    )


def _server_ago(seconds: float) -> Any:
    ago = ServerNow() - Value(timedelta(seconds=seconds))
    return ExpressionWrapper(ago, output_field=DateTimeField())
