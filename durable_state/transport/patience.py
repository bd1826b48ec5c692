"""Measures how long a session has waited for an answer to begin, to go on, and to bring anything.

Reads no clock; callers pass the time.
"""

from __future__ import annotations

from .batches import BatchLimits

__all__ = ["Patience"]


class Patience:
    """The times of one session's answers, in seconds of any one clock."""

    def __init__(self, limits: BatchLimits, stuck_seconds: float) -> None:
        """``stuck_seconds`` is how long answers may go on without bringing anything."""
        self._limits = limits
        self._stuck_seconds = stuck_seconds
        self._began_at: float | None = None  # when the current answer was first checked
        self._held_at: float | None = None  # since when a message, or a part of one, is held
        self._has_moved = True  # whether answers have brought anything since the last check
        self._moved_at = 0.0

    def begin(self, *, is_live: bool) -> None:
        """Notes that an answer has begun. A live one may rightly have taken long."""
        self._held_at = self._began_at = None
        self._has_moved = self._has_moved or is_live

    def note_moved(self) -> None:
        """Notes that an answer has brought something."""
        self._has_moved = True

    def seconds(self, *, is_urgent: bool) -> float:
        """Seconds until the next check: few, if something is held or has to begin."""
        if is_urgent or self._held_at is not None:
            return self._limits.seconds
        return max(self._limits.seconds, self._stuck_seconds / 10)

    def since_begun(self, now: float) -> float:
        """Seconds since the current answer was first checked."""
        if self._began_at is None:
            self._began_at = now
        return now - self._began_at

    def held_for(self, now: float, *, holds: bool) -> float:
        """Seconds for which something has been held; 0 unless the session ``holds`` anything."""
        if not holds:
            self._held_at = None
            return 0.0
        if self._held_at is None:
            self._held_at = now
        return now - self._held_at

    def gave_away(self, now: float, *, holds: bool) -> None:
        """Notes that what was held was given out; ``holds``: something else is held."""
        self._held_at = now if holds else None

    def stuck_for(self, now: float) -> float | None:
        """Seconds without any progress if they are too many, else None; then counts anew."""
        if self._has_moved:
            self._has_moved, self._moved_at = False, now
        elif (seconds := now - self._moved_at) >= self._stuck_seconds:
            self._has_moved = True
            return seconds
        return None
