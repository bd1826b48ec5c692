"""Connections of a pool in this process (psycopg's, by ``OPTIONS["pool"]``), which are lent.

Why: decision 55.
"""

from __future__ import annotations

from typing import Any

from django.db import connections

__all__ = ["give_back_pooled", "pool_size"]

USUAL_SIZE = 4
"""Connections of a pool that nobody gave a size."""


def pool_size(alias: str) -> int | None:
    """How many connections the database's pool has at most; None where it has no pool."""
    pool: Any = connections.settings[alias].get("OPTIONS", {}).get("pool")
    if not pool:
        return None
    options = pool if isinstance(pool, dict) else {}
    return int(options.get("max_size") or options.get("min_size") or USUAL_SIZE)


def give_back_pooled() -> None:
    """Gives the calling thread's connections back to the pools that they are from.

    The next statement takes one again. One in a transaction is kept.
    """
    for connection in connections.all(initialized_only=True):
        if getattr(connection, "pool", None) and not connection.in_atomic_block:
            connection.close()
