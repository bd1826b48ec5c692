"""How many examples a property is tried with."""

from __future__ import annotations

import os

__all__ = ["examples"]

LEAST = int(os.environ.get("DURABLE_STATE_EXAMPLES", "0"))


def examples(usual: int) -> int:
    """As many as usual, or at least ``DURABLE_STATE_EXAMPLES``:
    a long run now and then finds more.
    """
    return max(usual, LEAST)
