"""What a stream is judged by: what is stored of it, and what follows from that at one moment."""

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
    """All that a stream is judged by."""

    stream: Stream
    """With its generations, and its replay where it has one."""
    attendance: Attendance
    """Who looks after it."""
    account: Account
    """What became of its messages."""
    types: list[TypeState]
    """The types that came."""
    outdated: list[str]
    """Those of them that need a reset."""
    misfits: list[str]
    """What of its mappings does not fit what it holds, a sentence each."""
    settings: Settings
    now: datetime
    overdue: timedelta | None = None
    """Since when it is due that waits for its doorbell; negative where it is not. None: it is
    followed."""
    unheard: timedelta | None = None
    """Since when nobody listens to its wake stream; negative where somebody does."""
    lock: RowLock | None = None
    """What keeps its row from being committed, where that is known."""

    @property
    def replay(self) -> Replay | None:
        """The stream's reset that is under way."""
        return getattr(self.stream, "replay", None)

    @property
    def doorbell(self) -> Doorbell | None:
        """What rings for the stream, where it is not followed."""
        return getattr(self.stream, "doorbell", None) if self.stream.has_doorbell else None

    @property
    def decisive(self) -> Progress:
        """What says how the stream fares.

        It is its replay, which ends whatever state the stream is in, unless all is well with that.
        """
        replay = self.replay
        if replay is None:
            return self.stream
        has_ended = self.stream.status in (Status.HALTED, Status.NEEDS_RESET)
        return replay if has_ended or replay.status in _NOT_WELL else self.stream

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
        """How soon the server drops the stream if nobody reads or writes it; None: not known."""
        ttl = self.stream.ttl_seconds
        if ttl is None or self.attendance.holder:
            return None
        idle = self.attendance.idle
        unread = self.unattended if idle is None else idle
        return ttl - unread.total_seconds()

    @property
    def lag(self) -> timedelta:
        """How long ago the rows were last known to hold all that the stream had."""
        stream, opened = self.stream, [self.stream.rebuild, self.stream.snapshot]
        is_staging = any(each is not None for each in opened)
        if stream.status == Status.CLOSED and not is_staging:
            return timedelta(0)

        # Before the tail is reached for the first time, the rows have never held all.
        lag = self.attendance.lag
        never_held_all = stream.up_to_date_at is None and stream.status != Status.LIVE
        if lag is None or never_held_all:
            lag = self.now - (stream.up_to_date_at or stream.created_at)
        # What is staged is not shown yet; and while it fails, nobody knows what has come.
        others = [self.now - each.created_at for each in opened if each is not None]
        if stream.status in (Status.RETRYING, Status.MISSING):
            others.append(self.now - stream.since)
        return max(lag, timedelta(0), *others)

    @property
    def is_lagging(self) -> bool:
        """Whether the stream is live, and its rows lag by more than looking at them takes."""
        looks = timedelta(seconds=self.settings.lease_seconds / 3)
        return self.plain_status == Status.LIVE and self.lag > looks

    @property
    def start(self) -> str:
        """How a worker is started."""
        using = self.stream.using
        if using == DEFAULT_DB_ALIAS:
            return _("Start: manage.py durable_state run, or a Celery worker and beat")
        return _(
            "Start: manage.py durable_state run --database %(using)s, or a Celery worker and beat"
            " with a supervise entry for it (kwargs: database=%(using)s)"
        ) % {"using": using}
