"""Tells whether all is well: no stream of any database is stuck, and each database answers."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

import django.db

from durable_state.models import Stream

from .lookup import databases_with_streams
from .report import StreamReport
from .standing import standings
from .status import reports

__all__ = ["Health", "assess_health", "was_healthy_lately"]

LATE_SECONDS = 5.0
"""How long ``was_healthy_lately`` gives the same answer, in seconds."""


@dataclass(frozen=True, slots=True)
class Health:
    """How all streams of all databases fare at one moment."""

    stuck: dict[str, list[StreamReport]] = field(default_factory=dict)
    """The streams that wait for a person, by the alias of their database."""
    away: list[str] = field(default_factory=list)
    """The databases that do not answer."""

    @property
    def is_well(self) -> bool:
        """Whether nobody has to act."""
        return not self.away and not any(self.stuck.values())


def assess_health() -> Health:
    """How all streams fare now."""
    found = Health()
    for using in databases_with_streams():
        try:
            told = reports(using, pks=_stuck(using)).values()
        except django.db.Error:
            found.away.append(using)
        else:
            found.stuck[using] = [each for each in told if each.stuck]
    return found


def _is_well() -> bool:
    """Whether ``assess_health`` would find all well; makes no reports of what is not."""
    try:
        return not any(_stuck(using) for using in databases_with_streams())
    except django.db.Error:
        return False


def _stuck(using: str) -> list[int]:
    found = standings(Stream.objects.using(using))
    return [pk for pk, standing in found.items() if standing.stuck]


def was_healthy_lately() -> bool:
    """Whether all was well at most ``LATE_SECONDS`` ago, for callers who may be many.

    Each process looks once in that time, however often it is asked.
    """
    return _latest.is_well()


class _Latest:
    """The newest answer of this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._looked_at: float | None = None
        self._is_well = False

    def is_well(self) -> bool:
        with self._lock:
            now = time.monotonic()
            if self._looked_at is None or now - self._looked_at >= LATE_SECONDS:
                self._is_well, self._looked_at = _is_well(), now
            return self._is_well


_latest = _Latest()
