"""How long a worker may wait for the database, and hold what others wait for."""

from __future__ import annotations

from typing import NamedTuple

from durable_state.conf import get_settings

__all__ = ["SESSIONS", "SessionLimits", "limit_seconds"]

SESSIONS = 128
"""Sessions that one consumer names at most: ``<its name>.0``, ``<its name>.1`` and so on."""


class SessionLimits(NamedTuple):
    """What the session of a worker's thread is to be like on the server."""

    name: str
    """Nobody else's, in any process of any machine: who takes over ends the session by it."""

    seconds: int
    """Whole seconds that it may wait for a lock, and stand still inside a transaction."""


def limit_seconds() -> int:
    """Half the lease: whoever takes over finds no lock of one who waits, or froze, in vain."""
    return max(1, int(get_settings().lease_seconds / 2))
