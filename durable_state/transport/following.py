"""Decides how the tail of a stream is followed: as configured, or in a simpler way if that fails.

    Server-Sent Events ──▶ long-poll ──▶ plain requests, one every few seconds

Proxies hold events back or cut them off, and caches answer live requests at once. The configured
way is tried again after a while. Opens no connection and never waits.

Why: decision 58.
"""

from __future__ import annotations

import time

from .request import LiveMode, Mode

__all__ = ["Following"]

AT_ONCE = 0.2
"""Seconds: an empty answer to a live request that comes sooner was not held until the end."""
MOST_AT_ONCE = 3
"""How many such answers in a row lead to a simpler way."""
MOST_CUT = 2
"""How many event streams in a row that end before their first event lead to a simpler way."""
POLL = 2.0
"""Seconds between two plain requests at the tail."""
AGAIN = 600.0
"""Seconds after which the configured way is tried again."""

_PLAINER = {Mode.SSE: Mode.LONG_POLL, Mode.LONG_POLL: Mode.CATCH_UP}
_IN_WORDS = {Mode.LONG_POLL: "by long-poll", Mode.CATCH_UP: f"by a request each {POLL:g} s"}


class Following:
    """Remembers how the live requests of one stream have fared, over any number of sessions."""

    def __init__(self, live: LiveMode | None, *, again: float = AGAIN) -> None:
        """After ``again`` seconds, the configured way is tried again."""
        self.detour = ""
        """How the tail is followed instead, and why; "" if it is followed as configured."""

        self._wanted = Mode(live) if live else None
        self._mode = self._wanted
        self._again = again
        self._changed_at = 0.0
        self._at_once = 0
        self._cut = 0

    @property
    def mode(self) -> Mode | None:
        """How to ask for what comes after the tail; None if reading ends there."""
        if self._mode is not self._wanted and time.monotonic() - self._changed_at >= self._again:
            self._mode, self.detour = self._wanted, ""
            self._at_once = self._cut = 0
        return self._mode

    @property
    def pause(self) -> float:
        """Seconds to wait before the next request at the tail."""
        return POLL if self._mode is Mode.CATCH_UP else 0.0

    def brought(self) -> None:
        """Notes that a live request was answered with messages."""
        self._at_once = 0

    def began(self) -> None:
        """Notes that an event stream has begun as it should, with a control event."""
        self._cut = 0

    def ended(self, mode: Mode, seconds: float) -> None:
        """Notes that a live request was answered with nothing, after so many seconds."""
        if seconds >= AT_ONCE:
            self._at_once = 0
            return
        self._at_once += 1
        if self._at_once >= MOST_AT_ONCE:
            self._take_plainer(mode, "live requests are answered at once, with nothing")

    def cut(self, mode: Mode) -> None:
        """Notes that an event stream ended, or was refused, before its first event."""
        self._cut += 1
        if self._cut >= MOST_CUT:
            self._take_plainer(mode, "its event streams end before their first event")

    def held_back(self, mode: Mode | None = None) -> None:
        """Notes that a live request was silent although there were messages."""
        mode = mode or self._mode
        what = "events" if mode is Mode.SSE else "answers to live requests"
        self._take_plainer(mode, f"its {what} are held back on the way")

    def not_spoken(self, mode: Mode) -> None:
        """Notes that the server, or something in between, sends no Server-Sent Events."""
        self._take_plainer(mode, "it is answered without Server-Sent Events")

    def _take_plainer(self, mode: Mode | None, why: str) -> None:
        if mode is None or mode is not self._mode or mode not in _PLAINER:
            return
        self._mode = _PLAINER[mode]
        self._changed_at = time.monotonic()
        self._at_once = self._cut = 0
        self.detour = f"followed {_IN_WORDS[self._mode]}: {why}"
