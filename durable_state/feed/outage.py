"""What subscribers do while the database does not answer: wait, instead of all coming back at once.

A database that is restarted, or hands over to its standby, is away for seconds. Ending every socket
would have all clients reconnect in the moment in which it answers again.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import time
from collections.abc import Container, Hashable

from django.db import InterfaceError, OperationalError

from durable_state.databases.faults import is_outage

__all__ = ["DATABASE_AWAY", "GRACE_SECONDS", "Answered", "Outage", "is_away", "warn_away"]

logger = logging.getLogger("durable_state.feed")

DATABASE_AWAY = (OperationalError, InterfaceError)
"""What Django raises where the database, or the connection to it, is gone."""
GRACE_SECONDS = 60.0
"""Seconds for which subscribers are kept without an answer of the database."""
RETRY_SECONDS = 1.0
"""Seconds between two attempts, about."""
WARNING_SECONDS = 10.0
"""Seconds between two warnings, of whichever subscribers."""

_warned_at = -math.inf


def is_away(error: BaseException) -> bool:
    """Whether the error says that a database does not answer for the moment."""
    return isinstance(error, DATABASE_AWAY) and is_outage(error)


def warn_away(reader: str, error: BaseException) -> None:
    """Logs that there is no answer, but not often: everybody notices an outage at once."""
    global _warned_at
    if time.monotonic() - _warned_at >= WARNING_SECONDS:
        _warned_at = time.monotonic()
        logger.warning("%s: no answer, trying again: %s", reader, error)


class Outage:
    """How long one reader has had no answer."""

    def __init__(self, reader: str) -> None:
        self._reader = reader
        self._since: float | None = None

    def end(self) -> None:
        """Notes that there was an answer."""
        self._since = None

    async def wait(self, error: Exception) -> None:
        """Waits until the next attempt. Raises: the error, after GRACE_SECONDS without answer."""
        now = time.monotonic()
        if self._since is None:
            self._since = now
        if now - self._since >= GRACE_SECONDS:
            raise error
        warn_away(self._reader, error)
        await asyncio.sleep(RETRY_SECONDS * random.uniform(0.5, 1))  # noqa: S311


class Answered:
    """For whom there has been no answer, and since when."""

    def __init__(self) -> None:
        self._silent_since: dict[Hashable, float] = {}

    def note(self, name: Hashable) -> None:
        """Notes an answer."""
        self._silent_since.pop(name, None)

    def still_holds(self, name: Hashable) -> bool:
        """Notes that there was no answer; returns whether the last one still counts."""
        now = time.monotonic()
        return now - self._silent_since.setdefault(name, now) < GRACE_SECONDS

    def forget_all_but(self, names: Container[Hashable]) -> None:
        """Forgets the others, who have left."""
        for name in [each for each in self._silent_since if each not in names]:
            del self._silent_since[name]
