"""Tells how far a stream has come, how fast it is, and when it will be done."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from durable_state.models import Progress, Status

from .case import Case

__all__ = ["Headway", "headway"]

_HOLDS = 5.0
"""Seconds without a message for which a rate still holds; a few seconds later it is zero."""


@dataclass(frozen=True, slots=True)
class Headway:
    """How far a stream, or its reset, has come, in messages."""

    done: int
    """Messages read so far."""
    total: int | None
    """All messages, if their number is known: a reset ends where the stream is."""
    rate: float
    """Messages per second, as of now."""
    seconds_left: float | None
    """Seconds until the end, at this rate; None if that is not known."""

    def to_json(self) -> dict[str, Any]:
        """The object of ``status --json``."""
        return asdict(self)


def headway(case: Case) -> Headway:
    """How far the stream has come or, while it is reset, how far the reset has."""
    replay, stream = case.replay, case.stream
    if replay is not None:
        return _headway(replay, max(stream.ordinal, replay.ordinal), case.now)
    is_at_tail = stream.status in (Status.LIVE, Status.CLOSED) and not case.is_lagging
    return _headway(stream, stream.ordinal if is_at_tail else None, case.now)


def _headway(progress: Progress, total: int | None, now: datetime) -> Headway:
    rate, left = _rate(progress, now), None
    if total is not None:
        missing = total - progress.ordinal
        left = round(missing / rate, 1) if rate else None if missing else 0.0
    return Headway(progress.ordinal, total, rate, left)


def _rate(progress: Progress, now: datetime) -> float:
    if progress.moved_at is None:
        return 0.0
    quiet = max((now - progress.moved_at).total_seconds(), 0.0)
    faded = math.exp(-max(quiet - _HOLDS, 0.0))
    return round(progress.rate * faded, 1)
