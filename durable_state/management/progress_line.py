"""The progress of a long verb, on stderr: one line that is overwritten on a terminal,
plain lines elsewhere.

Why: decisions 10 and 40.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple, TextIO

from durable_state import models
from durable_state.operations.wording import counted, span

from .table import one_line

__all__ = ["ProgressLine"]


class _Shown(NamedTuple):
    at: float
    done: int
    rate: float
    is_end: bool


class ProgressLine:
    """Shows how much is done, of how much if that is known, and how fast.

    Writes at most 5 times a second to a terminal, and every 5 seconds elsewhere. ``clock`` returns
    seconds and never goes back.
    """

    def __init__(self, out: TextIO, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._out = out
        self._clock = clock
        self._terminal = out.isatty()
        self._pause = 0.2 if self._terminal else 5.0
        self._last: dict[str, _Shown] = {}
        self._width = 0

    def __call__(self, progress: models.Progress) -> None:
        """Shows how far a stream has come, or its replay, which ends where the stream is."""
        if isinstance(progress, models.Stream):
            rest = f"{progress.applied_count:,} applied · {progress.status}"
            self.show(str(progress), "message", progress.ordinal, None, rest)
        elif isinstance(progress, models.Replay):
            total = max(progress.stream.ordinal, progress.ordinal)
            self.show(str(progress), "message", progress.ordinal, total, "shown at its end")

    def switching(self, progress: models.Progress, done: int, total: int) -> None:
        """Shows how many rows a switch has gone through; readers see none of them yet."""
        self.show(f"showing {progress}", "row", done, total)

    def show(self, name: str, thing: str, done: int, total: int | None, rest: str = "") -> None:
        """Shows that ``done`` of ``total`` things are done, unless it just wrote a line.

        The end is shown in any case.
        """
        now, last = self._clock(), self._last.get(name)
        is_end = total is not None and done >= total
        is_news = last is None or (is_end and (self._terminal or not last.is_end))
        if last is not None and now - last.at < self._pause and not is_news:
            return

        # Smoothed, so that one slow batch does not make the number jump.
        rate = 0.0
        if last is not None:
            # A reset starts the ordinals again.
            newest = max(done - last.done, 0) / max(now - last.at, 0.001)
            rate = last.rate * 0.5 + newest * 0.5 if last.rate else newest
        self._last[name] = _Shown(now, done, rate, is_end)

        if total:
            parts = [f"{done:,} of {counted(total, thing)} ({100 * done // total} %)"]
        else:
            parts = [counted(done, thing)]
        if rest:
            parts.append(rest)
        if rate:
            parts.append(f"{rate:,.0f} {thing}s/s")
            if total and not is_end:
                parts.append(f"{span(round((total - done) / rate))} left")
        self._write(f"{name}: {' · '.join(parts)}")

    def note(self, text: str) -> None:
        """Prints a line that stays, such as who holds the lease that the sync waits for."""
        self._clear()
        self._out.write(f"{one_line(text)}\n")
        self._out.flush()

    def close(self) -> None:
        """Clears the line, for whatever is printed next."""
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
