"""Streams that others append to: on the reference server if Node is available, otherwise on
rakaia.
"""

from __future__ import annotations

import http.client
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle
from types import TracebackType
from urllib.parse import urlsplit

from tests.servers.process import StreamServer
from tests.servers.rakaia import rakaia
from tests.servers.reference import missing, reference

__all__ = ["Producer", "stream_server"]

LONG_POLL_SECONDS = 20.0


@contextmanager
def stream_server() -> Iterator[StreamServer]:
    """Runs the server while the block runs."""
    run = rakaia if missing() else reference
    with run(long_poll_seconds=LONG_POLL_SECONDS) as server:
        yield server


class Producer:
    """Creates streams and appends to them in turn, over one connection."""

    def __init__(self, *urls: str) -> None:
        """All of them are on one server."""
        where = [urlsplit(url) for url in urls]
        self._connection = http.client.HTTPConnection(where[0].hostname or "", where[0].port)
        for each in where:
            self._request("PUT", each.path, b"")
        self._turns = cycle([each.path for each in where])

    def __enter__(self) -> Producer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._connection.close()

    def append(self, message: bytes) -> int:
        """Appends one message to the stream whose turn it is; returns when it was sent, in
        nanoseconds of the monotonic clock.
        """
        path, sent_at = next(self._turns), time.monotonic_ns()
        self._request("POST", path, message)
        return sent_at

    def append_steadily(self, messages: list[bytes], rate: float) -> list[int]:
        """Appends one message after another, ``rate`` per second; returns when each was sent."""
        self._connection.close()  # reopened by itself: servers close idle connections
        began = time.monotonic()
        sent = []
        for number, message in enumerate(messages):
            time.sleep(max(0.0, began + number / rate - time.monotonic()))
            sent.append(self.append(message))
        return sent

    def _request(self, method: str, path: str, body: bytes) -> None:
        self._connection.request(method, path, body, {"Content-Type": "application/json"})
        with self._connection.getresponse() as response:
            answer = response.read()
            if response.status >= 300:
                raise RuntimeError(f"{method}: {response.status} {answer[:200]!r}")
