"""How far a stream is, how fast it moves, and when it will be there."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from durable_state.models import Progress, Status

from .case import Case

__all__ = ["Headway", "headway"]

_HOLDS = 5.0
"""Seconds for which a rate holds that nothing adds to; after a few more it is none."""


@dataclass(frozen=True, slots=True)
class Headway:
    """How far a stream is, or its reset, in messages."""

    done: int
    """Messages that were read."""
    total: int | None
    """Messages that there are, where that is known: a reset ends where the stream is."""
    rate: float
    """Messages a second, as of now."""
    seconds_left: float | None
    """Until the end, at this rate; None where that is not known."""

    def to_json(self) -> dict[str, Any]:
        """The object of ``status --json``."""
        return asdict(self)


def headway(case: Case) -> Headway:
    """How far the stream is; while it is reset, how far that is."""
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
