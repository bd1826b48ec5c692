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

from django.db import InterfaceError, OperationalError

__all__ = ["DATABASE_AWAY", "GRACE_SECONDS", "Outage"]

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
        self._warn(error)
        await asyncio.sleep(RETRY_SECONDS * random.uniform(0.5, 1))  # noqa: S311

    def _warn(self, error: Exception) -> None:
        global _warned_at
        if time.monotonic() - _warned_at >= WARNING_SECONDS:
            _warned_at = time.monotonic()
            logger.warning("%s: no answer of the database; trying again: %s", self._reader, error)
