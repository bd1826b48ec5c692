"""How many examples a property is tried with."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

__all__ = ["examples", "lenient"]

LEAST = int(os.environ.get("DURABLE_STATE_EXAMPLES", "0"))


def examples(usual: int) -> int:
    """The usual number, or ``DURABLE_STATE_EXAMPLES`` if that is more: for occasional long runs."""
    return max(usual, LEAST)


def lenient(usual: int) -> settings:
    """Settings of a property that uses a database.

    Each example empties the tables itself, so it needs no fixture of its own.
    """
    return settings(max_examples=examples(usual), suppress_health_check=list(HealthCheck))
