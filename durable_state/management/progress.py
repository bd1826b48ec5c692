"""What a foreground sync shows on stderr: one line that is written over on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TextIO

from durable_state.models import Stream

from .table import printable

__all__ = ["Progress"]


class Progress:
    """Shows a stream's way: messages, rate, applied. Writes at most 5 times a second to a terminal, each 5 seconds elsewhere.

    ``clock`` gives seconds and only goes forward.
    """

    def __init__(self, out: TextIO, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._out = out
        self._clock = clock
        self._terminal = out.isatty()
        self._pause = 0.2 if self._terminal else 5.0
        self._began: tuple[float, int] | None = None
        self._last: tuple[float, int] | None = None
        self._rate = 0.0
        self._width = 0

    def __call__(self, stream: Stream) -> None:
        """Shows where the stream is now, unless that was shown a moment ago."""
        now = self._clock()
        if self._began is None:
            self._began = (now, stream.ordinal)
        if self._last is None:
            self._last = (now, stream.ordinal)
        elif now - self._last[0] < self._pause:
            return
        else:
            seconds, messages = now - self._last[0], stream.ordinal - self._last[1]
            # A reset starts the ordinals again; smoothed, so that one slow batch does not make the number jump.
            self._rate = (
                self._rate * 0.5 + max(messages, 0) / seconds * 0.5 if self._rate else max(messages, 0) / seconds
            )
            self._last = (now, stream.ordinal)
        rate = f" · {self._rate:,.0f} messages/s" if self._rate else ""
        self._write(
            f"{stream.name}: {stream.ordinal:,} messages · {stream.applied_count:,} applied{rate} · {stream.status}"
        )

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
