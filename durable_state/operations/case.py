"""All that a stream's status is derived from, at one moment."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import DEFAULT_DB_ALIAS
from django.utils.translation import gettext as _

from durable_state.conf import Settings
from durable_state.consumer import Attendance
from durable_state.databases.row_locks import RowLock
from durable_state.models import FAILING, Doorbell, Progress, Replay, Status, Stream, TypeState

from .account import Account

__all__ = ["Case", "Shown"]

_NOT_WELL = (Status.HALTED, Status.NEEDS_RESET, *FAILING)


class Shown(enum.StrEnum):
    """Statuses that are shown in place of a stored ``Status``, because they say more."""

    PAUSED = "paused"
    LAGGING = "lagging"
    NO_WORKER = "no-worker"
    UNMAPPED = "unmapped"
    UP_TO_DATE = "up-to-date"
    REBUILDING = "rebuilding"
    SNAPSHOT_OPEN = "snapshot-open"
    WAITING = "waiting"


@dataclass(frozen=True, slots=True)
class Case:
    """A stream, with all that decides how it fares."""

    stream: Stream
    """With its generations, and with its replay if it has one."""
    attendance: Attendance
    """Who consumes it, or did so last."""
    account: Account
    """What became of its messages."""
    types: list[TypeState]
    """The entity types that its messages had."""
    outdated: list[str]
    """The types that need a reset."""
    misfits: list[str]
    """Where its mappings do not fit its messages, one sentence each."""
    settings: Settings
    now: datetime
    overdue: timedelta | None = None
    """For how long a stream with a doorbell has been due; negative if it is not due, None if the
    stream is followed.
    """
    unheard: timedelta | None = None
    """For how long nobody has listened to its wake stream; negative if somebody does."""
    lock: RowLock | None = None
    """The lock that keeps its commits waiting, if it is known."""

    @property
    def replay(self) -> Replay | None:
        """The stream's reset, if one is under way."""
        return getattr(self.stream, "replay", None)

    @property
    def doorbell(self) -> Doorbell | None:
        """The stream's doorbell; None if the stream is followed."""
        return getattr(self.stream, "doorbell", None) if self.stream.has_doorbell else None

    @property
    def decisive(self) -> Progress:
        """Whichever of stream and replay says how the stream fares.

        That is the replay if it is in trouble, or if the stream itself has stopped, since the
        replay will end that; otherwise the stream.
        """
        replay = self.replay
        if replay is None:
            return self.stream
        has_ended = self.stream.status in (Status.HALTED, Status.NEEDS_RESET)
        return replay if has_ended or replay.status in _NOT_WELL else self.stream

    @property
    def plain_status(self) -> str:
        """What the stream is doing if all is well."""
        if self.stream.rebuild is not None or self.replay is not None:
            return Shown.REBUILDING
        if self.stream.snapshot is not None:
            return Shown.SNAPSHOT_OPEN
        return str(self.stream.status)

    @property
    def unattended(self) -> timedelta:
        """For how long nobody has consumed the stream although somebody should."""
        attendance, stream, replay = self.attendance, self.stream, self.replay
        if attendance.holder:
            return timedelta(0)

        # A verb counts too, and so does a commit without a lease (in a test).
        looks = [stream.created_at, stream.since, stream.up_to_date_at, self.decisive.retry_at]
        if replay is not None:
            looks.append(replay.since)
        elif self.overdue is not None:
            looks.append(self.now - self.overdue)
        unattended = self.now - max(look for look in looks if look is not None)
        if attendance.idle is not None:
            unattended = min(unattended, attendance.idle)
        return max(unattended, timedelta(0))

    @property
    def seconds_to_live(self) -> float | None:
        """Seconds until the server drops the stream unless it is used; None if unknown."""
        ttl = self.stream.ttl_seconds
        if ttl is None or self.attendance.holder:
            return None
        idle = self.attendance.idle
        unread = self.unattended if idle is None else idle
        return ttl - unread.total_seconds()

    @property
    def lag(self) -> timedelta:
        """How long ago the rows were last known to hold everything in the stream."""
        stream, opened = self.stream, [self.stream.rebuild, self.stream.snapshot]
        is_staging = any(each is not None for each in opened)
        if stream.status == Status.CLOSED and not is_staging:
            return timedelta(0)

        # Before the tail was first reached, the rows never held everything.
        lag = self.attendance.lag
        never_held_all = stream.up_to_date_at is None and stream.status != Status.LIVE
        if lag is None or never_held_all:
            lag = self.now - (stream.up_to_date_at or stream.created_at)
        # What is staged is not shown yet; and while the stream fails, nobody knows what it holds.
        others = [self.now - each.created_at for each in opened if each is not None]
        if stream.status in (Status.RETRYING, Status.MISSING):
            others.append(self.now - stream.since)
        return max(lag, timedelta(0), *others)

    @property
    def is_lagging(self) -> bool:
        """Whether the stream is live, but its rows lag by more than lag takes to be measured."""
        looks = timedelta(seconds=self.settings.lease_seconds / 3)
        return self.plain_status == Status.LIVE and self.lag > looks

    @property
    def start(self) -> str:
        """How to start a worker for the stream."""
        using = self.stream.using
        if using == DEFAULT_DB_ALIAS:
            return _("Start: manage.py durable_state run, or a Celery worker and beat")
        return _(
            "Start: manage.py durable_state run --database %(using)s, or a Celery worker and beat"
            " with a supervise entry for it (kwargs: database=%(using)s)"
        ) % {"using": using}
