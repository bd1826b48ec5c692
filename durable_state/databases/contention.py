"""Going past the locks of others, which nobody is to blame for."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

import django.db

from .faults import is_contention, is_deadlock

__all__ = ["retry_on_contention", "retry_on_deadlocks"]

T = TypeVar("T")

ATTEMPTS = 8
"""Attempts at a transaction that others are in the way of."""
FIRST_WAIT = 0.05
"""Seconds to wait after the first of them, at most; each further wait is twice as long."""
DEADLOCKS = 4
"""Attempts at one that ends in deadlocks, before that is written down as a failure."""


def retry_on_contention(transact: Callable[[], T]) -> T:
    """Calls what is a transaction of its own again, some times, where others' locks ended it.

    Raises: what it raised at last.
    """
    return _again(transact, ATTEMPTS, is_contention)


def retry_on_deadlocks(transact: Callable[[], T]) -> T:
    """The same, but only where the server ended the transaction at once, for the sake of another.

    A lock that was waited for in vain is not waited for again: a worker may be asked to stop.
    Raises: what it raised at last.
    """
    return _again(transact, DEADLOCKS, is_deadlock)


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
