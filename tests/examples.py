"""How many examples a property is tried with."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

__all__ = ["examples", "lenient"]

LEAST = int(os.environ.get("DURABLE_STATE_EXAMPLES", "0"))


def examples(usual: int) -> int:
    """As many as usual, or at least ``DURABLE_STATE_EXAMPLES``:
    a long run now and then finds more.
    """
    return max(usual, LEAST)


def lenient(usual: int) -> settings:
    """Settings of a property that uses a database.

    An example may take its time, and each one empties the tables itself, so that it needs no
    fixture of its own.
    """
    return settings(
        deadline=None,
        max_examples=examples(usual),
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )
