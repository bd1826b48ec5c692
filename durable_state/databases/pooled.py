"""Connections that a pool in this process lends (psycopg's, by ``OPTIONS["pool"]``).

Why: decision 55.
"""

from __future__ import annotations

from typing import Any

from django.db import connections

__all__ = ["give_back_pooled", "pool_size"]

USUAL_SIZE = 4
"""Connections of a pool whose size was not given."""


def pool_size(alias: str) -> int | None:
    """The largest number of connections in the database's pool; None without a pool."""
    pool: Any = connections.settings[alias].get("OPTIONS", {}).get("pool")
    if not pool:
        return None
    options = pool if isinstance(pool, dict) else {}
    return int(options.get("max_size") or options.get("min_size") or USUAL_SIZE)


def give_back_pooled() -> None:
    """Gives the calling thread's connections back to their pools.

    The next statement borrows one again. A connection in a transaction is kept.
    """
    for connection in connections.all(initialized_only=True):
        if getattr(connection, "pool", None) and not connection.in_atomic_block:
            connection.close()
