"""The public keys of stream servers, kept in memory, and asked for no more often than is fair."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from durable_state.errors import Unavailable

__all__ = ["KeyRing"]

FRESH_SECONDS = 300.0
"""Seconds for which a key is used without asking whether the server still has it."""
REST_SECONDS = 10.0
"""Seconds between two questions to one server, whatever key ids come in between."""
WAIT_SECONDS = 15.0
"""Seconds that a request waits for another one's question."""

Fetch = Callable[[], dict[str, bytes]]


@dataclass(slots=True)
class _Server:
    """One server's keys as far as they are known. Times are of the process's own clock."""

    keys: dict[str, bytes] = field(default_factory=dict)
    fetched_at: float = -math.inf
    asked_at: float = -math.inf
    asking: threading.Lock = field(default_factory=threading.Lock)


class KeyRing:
    """Finds the key of an id. For any number of threads.

    Invariant: a server is asked at most once each ``REST_SECONDS``, however many forged ids come;
    and a key that it has taken back is used for ``FRESH_SECONDS`` at most.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._servers: dict[str, _Server] = {}
        self._lock = threading.Lock()

    def find(self, address: str, key_id: str, fetch: Fetch) -> bytes | None:
        """The key, or None where the server at that address has none of that id.

        ``fetch`` asks the server, and is called where what is known is too old, or not enough.
        Raises: what ``fetch`` raises; Unavailable, where it was asked lately, in vain.
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
            # Another one may have asked meanwhile.
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
