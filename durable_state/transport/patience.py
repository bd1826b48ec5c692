"""Measures how long an answer has been waited for: to begin, to go on, and to bring anything.

Reads no clock: it is told what time it is.
"""

from __future__ import annotations

from .batches import BatchLimits

__all__ = ["Patience"]


class Patience:
    """The times of one session's answers, in seconds of any one clock."""

    def __init__(self, limits: BatchLimits, stuck_seconds: float) -> None:
        """``stuck_seconds`` is the longest that answers may go on without bringing anything."""
        self._limits = limits
        self._stuck_seconds = stuck_seconds
        self._began_at: float | None = None  # when the present answer was first looked at
        self._held_at: float | None = None  # since when a message, or a part of one, is held
        self._has_moved = True  # whether anything came of the answers since time was looked at
        self._moved_at = 0.0

    def begin(self, *, is_live: bool) -> None:
        """Another answer has begun. A live one may have been waited for for long."""
        self._held_at = self._began_at = None
        self._has_moved = self._has_moved or is_live

    def note_moved(self) -> None:
        """Something came of an answer."""
        self._has_moved = True

    def seconds(self, *, is_urgent: bool) -> float:
        """When time has to be looked at next; soon, where something is held or has to begin."""
        if is_urgent or self._held_at is not None:
            return self._limits.seconds
        return max(self._limits.seconds, self._stuck_seconds / 10)

    def since_begun(self, now: float) -> float:
        """For how long the present answer has been looked at."""
        if self._began_at is None:
            self._began_at = now
        return now - self._began_at

    def held_for(self, now: float, *, holds: bool) -> float:
        """For how long something is held, where it ``holds`` anything."""
        if not holds:
            self._held_at = None
            return 0.0
        if self._held_at is None:
            self._held_at = now
        return now - self._held_at

    def gave_away(self, now: float, *, holds: bool) -> None:
        """What was held is not any more; whether something else is."""
        self._held_at = now if holds else None

    def stuck_for(self, now: float) -> float | None:
        """For how long nothing has come, where that is too long. It is counted anew then."""
        if self._has_moved:
            self._has_moved, self._moved_at = False, now
        elif (seconds := now - self._moved_at) >= self._stuck_seconds:
            self._has_moved = True
            return seconds
        return None
