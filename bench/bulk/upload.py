"""Serves a recording from the reference server, which keeps it in memory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.request import Request, urlopen

from bench.recording import Recording
from tests.servers.reference import reference as reference_server

__all__ = ["reference"]

APPEND = 1_000
"""Messages per append."""


@contextmanager
def reference(recording: Recording) -> Iterator[str]:
    """Runs the server with the recording in a stream for the duration of the block.

    Yields the stream's URL.
    """
    with reference_server() as server:
        url = server.stream("bench")
        _send("PUT", url, b"")
        messages = json.loads(recording.path.read_bytes())
        for start in range(0, len(messages), APPEND):
            _send(
                "POST",
                url,
                json.dumps(messages[start : start + APPEND], separators=(",", ":")).encode(),
            )
        yield url


def _send(method: str, url: str, body: bytes) -> None:
    with urlopen(
        Request(url, data=body, method=method, headers={"Content-Type": "application/json"})
    ):
        pass
