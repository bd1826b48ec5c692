"""How long to wait before a server is asked again.

Why: decision 9.
"""

from __future__ import annotations

import random

__all__ = ["BASE", "CAP", "LONGEST_RETRY_AFTER", "delay", "pause_after_empty"]

BASE = 0.5
"""The longest first wait, in seconds."""

CAP = 60.0
"""The longest wait, in seconds, unless the server asks for more."""

LONGEST_RETRY_AFTER = 3600.0
"""The longest ``Retry-After`` that is obeyed, in seconds."""

EMPTY_IN_A_ROW = 10
"""How many answers in a row may bring no message before requests pause."""

LONGEST_EMPTY_PAUSE = 2.0
"""The longest pause between two requests while answers stay empty, in seconds."""


def delay(failures: int, retry_after: float | None = None) -> float:
    """Seconds to wait after so many failures in a row, and never less than the server asks for.

    It is random below a bound that doubles, so that the many readers of a server that comes back do
    not all arrive together.
    """
    bound = min(CAP, BASE * 2 ** min(max(failures - 1, 0), 16))
    wait = random.uniform(0, bound)  # noqa: S311  jitter needs no secrecy
    return max(wait, min(max(retry_after or 0.0, 0.0), LONGEST_RETRY_AFTER))


def pause_after_empty(answers: int) -> float:
    """Seconds to wait after so many answers in a row that lead on without a message.

    A server that skips what the reader may not see gives a few of them. A server that leads in a
    circle would otherwise be asked as fast as the network allows.
    """
    doublings = answers - EMPTY_IN_A_ROW
    return min(LONGEST_EMPTY_PAUSE, 0.02 * 2 ** min(doublings, 16)) if doublings >= 0 else 0.0
