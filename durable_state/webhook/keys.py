"""The public keys of stream servers, kept in memory and fetched at a limited rate."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from durable_state.errors import Unavailable

__all__ = ["KeyRing"]

FRESH_SECONDS = 300.0
"""Seconds for which a key is used before asking whether the server still has it."""
REST_SECONDS = 10.0
"""Seconds between two fetches from one server, whatever key ids arrive in between."""
WAIT_SECONDS = 15.0
"""Seconds that a request waits for another one's fetch."""

Fetch = Callable[[], dict[str, bytes]]


@dataclass(slots=True)
class _Server:
    """One server's keys, as far as they are known. Times are on the process's monotonic clock."""

    keys: dict[str, bytes] = field(default_factory=dict)
    fetched_at: float = -math.inf
    asked_at: float = -math.inf
    asking: threading.Lock = field(default_factory=threading.Lock)


class KeyRing:
    """Finds keys by id. Safe for any number of threads.

    Invariant: a server is asked at most once every ``REST_SECONDS``, however many forged ids
    arrive, and a key that it has withdrawn is used for at most ``FRESH_SECONDS``.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._servers: dict[str, _Server] = {}
        self._lock = threading.Lock()

    def find(self, address: str, key_id: str, fetch: Fetch) -> bytes | None:
        """The key, or None if the server at that address has none with that id.

        ``fetch`` asks the server. It is called if the known keys are too old or lack the id.
        Raises: what ``fetch`` raises; Unavailable, if a recent fetch has failed.
        """
        with self._lock:
            server = self._servers.setdefault(
                address, _Server(asked_at=self._clock() - REST_SECONDS)
            )
        if (key := self._known(server, key_id)) is not None:
            return key

        if not server.asking.acquire(timeout=WAIT_SECONDS):
            raise Unavailable("The server of the stream is being asked for its keys.")
        try:
            # Another request may have fetched them meanwhile.
            if (key := self._known(server, key_id)) is None and self._may_ask(server):
                server.asked_at = self._clock()
                server.keys = fetch()
                server.fetched_at = self._clock()
                key = server.keys.get(key_id)
        finally:
            server.asking.release()

        if key is None and not self._is_fresh(server):
            raise Unavailable("The server of the stream has not given its keys.")
        return key

    def _known(self, server: _Server, key_id: str) -> bytes | None:
        return server.keys.get(key_id) if self._is_fresh(server) else None

    def _is_fresh(self, server: _Server) -> bool:
        return self._clock() - server.fetched_at < FRESH_SECONDS

    def _may_ask(self, server: _Server) -> bool:
        return self._clock() - server.asked_at >= REST_SECONDS
