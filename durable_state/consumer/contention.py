"""Going past the locks of others, for what is not tried again by anybody else."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

import django.db

__all__ = ["past_contention"]

T = TypeVar("T")

ATTEMPTS = 8
"""Attempts at a transaction that others are in the way of."""
FIRST_WAIT = 0.05
"""Seconds to wait after the first of them, at most; each further wait is twice as long."""


def past_contention(transact: Callable[[], T]) -> T:
    """Calls what is a transaction of its own again, some times, where others' locks ended it.

    Raises: what it raised at last.
    """
    for attempt in range(ATTEMPTS - 1):
        try:
            return transact()
        except django.db.Error as error:
            if not _is_contention(error):
                raise
        # Never the same for two that met: they would meet again.
        time.sleep(FIRST_WAIT * 2**attempt * random.uniform(0.5, 1))  # noqa: S311
    return transact()


def _is_contention(error: django.db.Error) -> bool:
    """Whether a deadlock, or a lock that was waited for too long, ended the transaction."""
    if getattr(error.__cause__, "sqlstate", None) in _POSTGRESQL:
        return True
    return isinstance(error, django.db.OperationalError) and (
        (error.args[0] if error.args else None) in _MYSQL or "database is locked" in str(error)
    )


_POSTGRESQL = frozenset({"40001", "40P01", "55P03"})
_MYSQL = frozenset({1205, 1213})
