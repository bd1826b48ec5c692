"""How long a worker may wait for the database, and hold locks that others wait for."""

from __future__ import annotations

from typing import NamedTuple

from durable_state.conf import get_settings

__all__ = ["SESSIONS", "SessionLimits", "limit_seconds"]

SESSIONS = 128
"""Most sessions of one consumer; they are named ``<its name>.0``, ``<its name>.1`` and so on."""


class SessionLimits(NamedTuple):
    """The name and the time limits of a worker's session on the server."""

    name: str
    """Unique among all processes and machines: a successor ends the session by it."""

    seconds: int
    """Whole seconds that it may wait for a lock, or be idle in a transaction."""


def limit_seconds() -> int:
    """Half the lease, so a successor finds no locks of a worker that waited in vain or froze."""
    return max(1, int(get_settings().lease_seconds / 2))
