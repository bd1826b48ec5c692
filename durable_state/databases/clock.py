"""The database's clock, which all processes share.

Invariant: what is decided, and each age that is shown, goes by it, whatever a machine's own says.

Why: decision 63.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Any, NamedTuple

from django.conf import settings
from django.db.models import BigIntegerField, Func
from django.db.models.functions import Now
from django.utils import timezone

from .choosing import find_database

__all__ = ["ServerNow", "ServerSeconds", "database_now"]

READ_SECONDS = 60.0
"""Seconds between two readings of the database's clock."""


class ServerNow(Now):
    """The current moment on the database's clock, in UTC.

    MySQL's plain one is local time, which jumps twice a year and is not what Django stores.
    """

    def as_mysql(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        return self.as_sql(compiler, connection, template="UTC_TIMESTAMP(6)", **extra)


class ServerSeconds(Func):
    """The current moment as whole seconds since 1970, the unit that others use."""

    arity = 0
    output_field = BigIntegerField()
    template = "CAST(FLOOR(EXTRACT(EPOCH FROM STATEMENT_TIMESTAMP())) AS bigint)"

    def as_mysql(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        return self.as_sql(compiler, connection, template="UNIX_TIMESTAMP()", **extra)

    def as_sqlite(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        template = "CAST((julianday('now') - 2440587.5) * 86400 AS INTEGER)"
        return self.as_sql(compiler, connection, template=template, **extra)


class _Reading(NamedTuple):
    """A reading of the database's clock."""

    seconds: float
    """Since 1970."""
    at: float
    """When it was read, by ``_ticks``."""


_readings: dict[str, _Reading] = {}
"""The last reading of each database's clock, by alias."""


def database_now(using: str) -> datetime:
    """The moment by the database's clock, as the project keeps moments: local times without
    ``USE_TZ``.

    Each process asks once a minute, and counts on in between, by a clock that never jumps. An event
    loop, which may not ask, counts on from what its threads have read.
    """
    reading = _readings.get(using)
    if _may_ask() and (reading is None or _ticks() - reading.at >= READ_SECONDS):
        database = find_database(using)
        reading = _Reading(database.read_clock(), _ticks())
        if database.has_server:  # another clock than this machine's
            _readings[using] = reading
    seconds = time.time() if reading is None else reading.seconds + _ticks() - reading.at
    now = datetime.fromtimestamp(seconds, UTC)
    return now if settings.USE_TZ else timezone.make_naive(now, timezone.get_default_timezone())


def _may_ask() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return True
    return False


def _ticks() -> float:
    """Seconds on a clock that, if there is one, runs on while the machine sleeps."""
    return time.monotonic() if _TICKING is None else time.clock_gettime(_TICKING)


# On Linux, on macOS, and on Windows.
_TICKING = getattr(time, "CLOCK_BOOTTIME", getattr(time, "CLOCK_MONOTONIC", None))
