"""What a foreground sync shows on stderr: one line that is written over on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TextIO

from durable_state import models

from .table import printable

__all__ = ["Progress"]


class Progress:
    """Shows a stream's way, and its replay's: messages, rate, applied. Writes at most 5 times a second to a terminal, each 5 seconds
    elsewhere.

    ``clock`` gives seconds and only goes forward.
    """

    def __init__(self, out: TextIO, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._out = out
        self._clock = clock
        self._terminal = out.isatty()
        self._pause = 0.2 if self._terminal else 5.0
        self._last: dict[
            str, tuple[float, int, float]
        ] = {}  # by name: when, messages, messages a second
        self._width = 0

    def __call__(self, progress: models.Progress) -> None:
        """Shows how far the stream or replay is now, unless that was shown a moment ago."""
        name, now, rate = str(progress), self._clock(), 0.0
        if name in self._last:
            before, ordinal, rate = self._last[name]
            if now - before < self._pause:
                return
            # A reset starts the ordinals again; smoothed, so that one slow batch does not make the number jump.
            newest = max(progress.ordinal - ordinal, 0) / (now - before)
            rate = rate * 0.5 + newest * 0.5 if rate else newest
        self._last[name] = (now, progress.ordinal, rate)
        applied = (
            f"{progress.applied_count:,} applied"
            if isinstance(progress, models.Stream)
            else "shown at its end"
        )
        shown = f" · {rate:,.0f} messages/s" if rate else ""
        self._write(f"{name}: {progress.ordinal:,} messages · {applied}{shown} · {progress.status}")

    def note(self, text: str) -> None:
        """Shows a line that stays, such as whom the sync waits for."""
        self._clear()
        self._out.write(f"{printable(text)}\n")
        self._out.flush()

    def close(self) -> None:
        """Leaves the terminal's line clean for what follows."""
        self._clear()
        self._out.flush()

    def _write(self, line: str) -> None:
        if self._terminal:
            self._out.write("\r" + line.ljust(self._width))
            self._width = len(line)
        else:
            self._out.write(line + "\n")
        self._out.flush()

    def _clear(self) -> None:
        if self._width:
            self._out.write("\r" + " " * self._width + "\r")
            self._width = 0
