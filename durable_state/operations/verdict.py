"""How a stream fares: one word for it, whether it waits for a person, why, and what to do.

Why: decision 36.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from django.db import DEFAULT_DB_ALIAS
from django.utils import timezone

from durable_state.conf import Settings
from durable_state.consumer import Attendance
from durable_state.models import Progress, Replay, Status, Stream, TypeState
from durable_state.registry import registry

from .account import Account

__all__ = ["Case", "Shown", "Verdict", "judge"]

PATIENCE = 1.5
"""Lease times without a sign of life after which nobody is taken to consume a stream. A slice that
ends hands over within less."""
_FAILING = (Status.HALTED, Status.NEEDS_RESET, Status.RETRYING)


class Shown(enum.StrEnum):
    """Statuses that are shown in place of a stored ``Status``, because they say more."""

    PAUSED = "paused"
    NO_WORKER = "no-worker"
    UNMAPPED = "unmapped"
    UP_TO_DATE = "up-to-date"
    REBUILDING = "rebuilding"
    SNAPSHOT_OPEN = "snapshot-open"


class Verdict(NamedTuple):
    """``why`` and ``action`` may be empty, ``why`` only where the stream is not ``stuck``."""

    status: str
    stuck: bool
    why: str
    action: str


@dataclass(frozen=True, slots=True)
class Case:
    """All that a stream is judged by.

    ``outdated`` are those of its types that need a reset; ``misfits`` say what of its mappings does
    not fit what it holds.
    """

    stream: Stream
    attendance: Attendance
    account: Account
    types: list[TypeState]
    outdated: list[str]
    misfits: list[str]
    settings: Settings
    now: datetime

    @property
    def replay(self) -> Replay | None:
        """The stream's reset that is under way."""
        return getattr(self.stream, "replay", None)

    @property
    def decisive(self) -> Progress:
        """What says how the stream fares.

        It is its replay, which ends whatever state the stream is in, unless all is well with that.
        """
        replay = self.replay
        if replay is not None and (
            replay.status in _FAILING or self.stream.status in (Status.HALTED, Status.NEEDS_RESET)
        ):
            return replay
        return self.stream

    @property
    def plain_status(self) -> str:
        """What the stream is doing, where all is well."""
        if self.stream.rebuild is not None or self.replay is not None:
            return Shown.REBUILDING
        if self.stream.snapshot is not None:
            return Shown.SNAPSHOT_OPEN
        return str(self.stream.status)

    @property
    def unattended(self) -> timedelta:
        """For how long nobody has looked after the stream although it was to be consumed."""
        attendance, stream, replay = self.attendance, self.stream, self.replay
        if attendance.holder:
            return timedelta(0)
        # A verb, or a commit without a lease (in a test), is a look as well.
        wanted = [stream.created_at, stream.since, stream.up_to_date_at, self.decisive.retry_at]
        if replay is not None:
            wanted.append(replay.since)
        unattended = self.now - max(each for each in wanted if each is not None)
        if attendance.idle is not None:
            unattended = min(unattended, attendance.idle)
        return max(unattended, timedelta(0))

    @property
    def lag(self) -> timedelta:
        """How long ago the rows were last known to be what the stream holds."""
        stream = self.stream
        lag = self.now - (stream.up_to_date_at or stream.created_at)
        if stream.rebuild is None and stream.snapshot is None and stream.status == Status.CLOSED:
            lag = timedelta(0)
        elif stream.rebuild is None and stream.status == Status.LIVE:
            # A quiet stream was up to date for as long as somebody listened to it, which is so
            # until a renewal of the lease, three of which come in its time, is overdue.
            idle, overdue = self.attendance.idle, timedelta(seconds=self.settings.lease_seconds / 2)
            if self.attendance.holder and idle is not None and idle < overdue:
                idle = timedelta(0)
            lag = lag if idle is None else min(lag, idle)
        return max(lag, timedelta(0))

    @property
    def start(self) -> str:
        """How a worker is started."""
        using = self.stream.using
        database = "" if using in (None, DEFAULT_DB_ALIAS) else f" --database {using}"
        return f"Start: manage.py durable_state run{database}, or a Celery worker and beat"


def judge(case: Case) -> Verdict:
    """What a person has to know first."""
    for rule in _RULES:
        if (verdict := rule(case)) is not None:
            return verdict
    return Verdict(case.plain_status, False, "; ".join(case.misfits), case.decisive.action)


def _is_paused(case: Case) -> Verdict | None:
    if not case.stream.paused:
        return None
    return Verdict(Shown.PAUSED, False, "", f"durable_state resume {case.stream.name}")


def _has_stopped(case: Case) -> Verdict | None:
    decisive, name = case.decisive, case.stream.name
    if decisive.status == Status.HALTED:
        why = decisive.last_error or "halted"
        action = f"Remove the cause, then: durable_state resume {name}"
    elif decisive.status == Status.NEEDS_RESET:
        why = decisive.last_error or "the server no longer holds what was read"
        action = f"durable_state reset {name}"
    else:
        return None
    return Verdict(str(decisive.status), True, why, decisive.action or action)


def _has_no_worker(case: Case) -> Verdict | None:
    """Nobody consumes it, and nobody was asked to leave it as it is."""
    stream, attendance = case.stream, case.attendance
    complete = stream.status == Status.CLOSED or _was_left(case)
    if attendance.holder or (complete and case.replay is None):
        return None
    unattended = case.unattended
    if unattended > timedelta(seconds=PATIENCE * case.settings.lease_seconds):
        error = f"; {case.decisive.last_error}" if case.decisive.last_error else ""
        return Verdict(
            Shown.NO_WORKER, True, f"no worker for {_seconds(unattended)}{error}", case.start
        )
    if stream.status == Status.NEW and attendance.idle is None:
        return Verdict(str(stream.status), False, "no worker has taken it yet", case.start)
    return None


def _keeps_failing(case: Case) -> Verdict | None:
    decisive = case.decisive
    if decisive.status != Status.RETRYING:
        return None
    failing = case.now - decisive.since
    if failing <= timedelta(seconds=case.settings.stuck_seconds):
        return Verdict(str(decisive.status), False, "", decisive.action)
    return Verdict(
        str(decisive.status),
        True,
        f"failing for {_seconds(failing)}: {decisive.last_error}",
        decisive.action or "Look at the stream server and the way to it.",
    )


def _needs_reset(case: Case) -> Verdict | None:
    types = case.outdated
    if not types or case.plain_status == Shown.REBUILDING:
        return None
    listed = ", ".join(types[:5]) + (", ..." if len(types) > 5 else "")
    one = f" --type {types[0]}" if len(types) == 1 else ""
    return Verdict(
        Status.NEEDS_RESET.value,
        True,
        f"needs a reset to fold again: {listed}",
        f"durable_state reset {case.stream.name}{one}",
    )


def _is_open_for_too_long(case: Case) -> Verdict | None:
    for opened, what, action in (
        (
            case.replay,
            "reset",
            "See with `durable_state status` whether it comes nearer to its end.",
        ),
        (
            case.stream.rebuild,
            "rebuild",
            "See whether the stream's writer still appends its state.",
        ),
        (
            case.stream.snapshot,
            "snapshot",
            "See whether the stream's writer still appends its snapshot-end.",
        ),
    ):
        if opened is not None:
            open_for = case.now - opened.created_at
            if open_for > timedelta(seconds=case.settings.snapshot_open_seconds):
                why = f"a {what} is open for {_seconds(open_for)}"
                return Verdict(case.plain_status, True, why, action)
    return None


def _maps_nothing(case: Case) -> Verdict | None:
    """Its tail is reached, and no message of it has met a mapping."""
    account, name = case.account, case.stream.name
    if case.plain_status not in (Status.LIVE, Status.CLOSED) or account.mapped:
        return None
    if not account.unregistered or any(state.fingerprint for state in case.types):
        return None
    why = "; ".join([f"nothing of it is mapped: {account}", *case.misfits])
    mapped = ", ".join(f'"{each.entity_type}"' for each in registry.for_stream(name))
    action = (
        f"Register a mapping for a type that comes (for this stream there is {mapped or 'none'}),"
        f" then: durable_state reset {name}"
    )
    return Verdict(Shown.UNMAPPED, True, why, action)


def _is_not_followed(case: Case) -> Verdict | None:
    """Somebody has read up to its tail, as they were asked to, and left."""
    if case.plain_status != Status.LIVE or not _was_left(case):
        return None
    seen = case.now - case.lag
    seen = timezone.localtime(seen) if timezone.is_aware(seen) else seen
    same_day = case.lag < timedelta(hours=12)
    why = f"up to date as of {seen:{'%H:%M:%S' if same_day else '%Y-%m-%d %H:%M'}}"
    why = "; ".join([f"{why}, nobody follows it", *case.misfits])
    return Verdict(Shown.UP_TO_DATE, False, why, case.start)


def _was_left(case: Case) -> bool:
    return case.attendance.left_at_tail and not case.attendance.holder


_RULES: tuple[Callable[[Case], Verdict | None], ...] = (
    _is_paused,
    _has_stopped,
    _has_no_worker,
    _keeps_failing,
    _needs_reset,
    _is_open_for_too_long,
    _maps_nothing,
    _is_not_followed,
)
"""The first that has something to say decides."""


def _seconds(span: timedelta) -> str:
    return f"{int(span.total_seconds())} s"
