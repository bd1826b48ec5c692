"""Going past the locks of others, which nobody is to blame for."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

import django.db

__all__ = ["retry_on_contention", "retry_on_deadlocks"]

T = TypeVar("T")

ATTEMPTS = 8
"""Attempts at a transaction that others are in the way of."""
FIRST_WAIT = 0.05
"""Seconds to wait after the first of them, at most; each further wait is twice as long."""
DEADLOCKS = 4
"""Attempts at one that ends in deadlocks, before that is written down as a failure."""

_POSTGRESQL_DEADLOCKS = frozenset({"40001", "40P01"})
_MYSQL_DEADLOCK = 1213


def retry_on_contention(transact: Callable[[], T]) -> T:
    """Calls what is a transaction of its own again, some times, where others' locks ended it.

    Raises: what it raised at last.
    """
    return _again(transact, ATTEMPTS, _is_contention)


def retry_on_deadlocks(transact: Callable[[], T]) -> T:
    """The same, but only where the server ended the transaction at once, for the sake of another.

    A lock that was waited for in vain is not waited for again: a worker may be asked to stop.
    Raises: what it raised at last.
    """
    return _again(transact, DEADLOCKS, _is_deadlock)


def _again(
    transact: Callable[[], T], attempts: int, passes: Callable[[django.db.Error], bool]
) -> T:
    for attempt in range(attempts - 1):
        try:
            return transact()
        except django.db.Error as error:
            if not passes(error):
                raise
        # Never the same for two that met: they would meet again.
        time.sleep(FIRST_WAIT * 2**attempt * random.uniform(0.5, 1))  # noqa: S311
    return transact()


def _is_contention(error: django.db.Error) -> bool:
    """Whether a deadlock, or a lock that was waited for too long, ended the transaction."""
    if _is_deadlock(error) or getattr(error.__cause__, "sqlstate", None) == "55P03":
        return True
    return isinstance(error, django.db.OperationalError) and (
        error.args[:1] == (1205,) or "database is locked" in str(error)
    )


def _is_deadlock(error: django.db.Error) -> bool:
    if getattr(error.__cause__, "sqlstate", None) in _POSTGRESQL_DEADLOCKS:
        return True
    return isinstance(error, django.db.OperationalError) and error.args[:1] == (_MYSQL_DEADLOCK,)
