"""Retries transactions that failed only because of others' locks."""

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
"""Attempts at a transaction that others' locks end."""
FIRST_WAIT = 0.05
"""Most seconds to wait after the first attempt; each further wait is twice as long."""
DEADLOCKS = 4
"""Attempts at a transaction that ends in deadlocks, before that counts as a failure."""


def retry_on_contention(transact: Callable[[], T]) -> T:
    """Calls a whole transaction, and repeats it a few times if others' locks ended it.

    Raises: what its last attempt raised.
    """
    return _again(transact, ATTEMPTS, is_contention)


def retry_on_deadlocks(transact: Callable[[], T]) -> T:
    """The same, but only repeats it if the server ended it at once, in favour of another.

    After a lock was waited for in vain, there is no second wait: a worker may be asked to stop.
    Raises: what its last attempt raised.
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
        # Random, so that two transactions that met do not meet again.
        time.sleep(FIRST_WAIT * 2**attempt * random.uniform(0.5, 1))  # noqa: S311
    return transact()
