"""The reports of streams, in the words that command, admin, REST and monitoring share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from django.db.models import DurationField, ExpressionWrapper, F

from durable_state.conf import get_settings
from durable_state.consumer import UNATTENDED, Attendance, attendances
from durable_state.databases import find_database
from durable_state.databases.clock import ServerNow, database_now
from durable_state.databases.row_locks import RowLock
from durable_state.models import Lease, Stream, TypeState
from durable_state.protocol.url import mask_query
from durable_state.registry import registry

from .account import stream_account
from .bounded_counts import COUNTED, letters_up_to, parked_up_to
from .case import Case, Shown
from .misfits import misfits
from .progress import headway
from .report import StreamReport
from .verdict import judge

__all__ = ["needs_reset", "report", "reports"]

_CHUNK = 500
"""Primary keys in one query: below every database's limit of parameters."""
_NOT_SHOWN = ("checkpoint", "replay__checkpoint", "replay__samples", "replay__txids")
"""Large columns that reports do not need."""
_LOOKED_UP = 20
"""The most streams for which a database is asked who has locked their rows."""


def report(stream: Stream, *, count_to: int = COUNTED) -> StreamReport:
    """The report of one stream, read from its database; ``count_to`` as in ``reports``."""
    found = reports(stream.using, pks=[stream.pk], count_to=count_to)
    if not found:
        raise Stream.DoesNotExist(f"The stream {stream.name!r} is no longer there.")
    return found[stream.pk]


def reports(
    using: str = "default", *, pks: Iterable[int] | None = None, count_to: int = COUNTED
) -> dict[int, StreamReport]:
    """The reports of all streams, or of those with the given primary keys.

    Returns them by primary key, ordered by name. Takes five queries per 500 streams, however many
    letters and parked changes they have; these are counted up to ``count_to``, and one more stands
    for more.
    """
    if pks is None:
        pks = Stream.objects.using(using).values_list("pk", flat=True)
    known = sorted(pks)  # so that each query covers neighbouring rows
    found: list[tuple[Stream, StreamReport]] = []
    for start in range(0, len(known), _CHUNK):
        found.extend(_reports(using, known[start : start + _CHUNK], count_to))
    return {stream.pk: each for stream, each in sorted(found, key=lambda pair: pair[0].name)}


def _reports(using: str, pks: list[int], count_to: int) -> list[tuple[Stream, StreamReport]]:
    parked = parked_up_to(using, pks, count_to)
    letters = letters_up_to(using, pks, count_to)
    types: dict[int, list[TypeState]] = {}
    for state in TypeState.objects.using(using).filter(stream__in=pks):
        types.setdefault(state.stream_id, []).append(state)
    rows = Stream.objects.using(using).filter(pk__in=pks)
    # Computed by the database, whose clock says what is due.
    overdue = ExpressionWrapper(ServerNow() - F("doorbell__due_at"), output_field=DurationField())
    heard_until = F("doorbell__wake_stream__expires_at")
    unheard = ExpressionWrapper(ServerNow() - heard_until, output_field=DurationField())
    related = rows.select_related(
        "snapshot", "rebuild", "replay", "doorbell", "doorbell__wake_stream"
    )
    shown = related.defer(*_NOT_SHOWN).annotate(overdue=overdue, unheard=unheard)
    streams: list[Any] = list(shown)
    # Read last, so that whoever committed what was read above is seen with its lease.
    attended = attendances(using, pks)

    locks = _locks(using, attended)
    settings, now = get_settings(), database_now(using)
    found = []
    for stream in streams:
        states = types.get(stream.pk, [])
        case = Case(
            stream,
            attendance=attended.get(stream.pk, UNATTENDED),
            account=stream_account(stream, states),
            types=states,
            outdated=[state.type for state in states if needs_reset(state, stream.name)],
            misfits=misfits(stream.name, states),
            settings=settings,
            now=now,
            overdue=stream.overdue if stream.has_doorbell else None,
            unheard=stream.unheard if stream.has_doorbell else None,
            lock=locks.get(stream.pk),
        )
        told = _report(case, parked.get(stream.pk, 0), letters.get(stream.pk, 0))
        found.append((stream, told))
    return found


def _locks(using: str, attended: Mapping[int, Attendance]) -> dict[int, RowLock]:
    """Who has locked the rows of streams whose commits take long."""
    waiting = [
        pk
        for pk, each in attended.items()
        if each.holder and each.lags_because in (Lease.Lag.COMMIT, Lease.Lag.LOCKED)
    ]
    if not waiting:
        return {}
    found = find_database(using).find_row_locks(Stream._meta.db_table, waiting[:_LOOKED_UP])
    return {
        pk: lock
        for pk, lock in found.items()
        if lock.is_awaited or attended[pk].lags_because == Lease.Lag.LOCKED
    }


def _report(case: Case, parked: int, letters: int) -> StreamReport:
    stream, verdict = case.stream, judge(case)
    return StreamReport(
        name=stream.name,
        url=mask_query(stream.url),
        status=str(verdict.status),
        stuck=verdict.stuck,
        why=verdict.why,
        offset=stream.offset,
        ordinal=stream.ordinal,
        revision=stream.revision,
        account=case.account,
        misfits=case.misfits,
        parked=parked,
        dead_letters=letters,
        lag_seconds=round(case.lag.total_seconds(), 3),
        since=_since(case, verdict.status),
        headway=headway(case),
        replayed=None if case.replay is None else case.replay.ordinal,
        holder=case.attendance.holder,
        last_error=case.decisive.last_error,
        action=verdict.action,
        last_error_detail=case.decisive.last_error_detail,
        last_error_type=case.decisive.last_error_type,
    )


def _since(case: Case, status: str) -> datetime:
    """When the shown status began."""
    if status == Shown.NO_WORKER:
        return case.now - case.unattended
    return case.now - case.lag if status == Shown.LAGGING else case.decisive.since


def needs_reset(state: TypeState, stream_name: str) -> bool:
    """Whether only a reset can make the type's rows equal to the stream.

    That is so if messages were skipped, or if another mapping than today's made the rows: a type
    that was registered or changed since needs a reset even before its next message comes.
    """
    mapping = registry.find(state.type, stream_name)
    if mapping is None:
        return False
    is_other = state.fingerprint != mapping.fingerprint
    return state.needs_reset or (is_other and bool(state.fingerprint or state.unregistered))
