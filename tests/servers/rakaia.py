"""rakaia-streams, the stream server that the demo runs."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from .process import StreamServer, serving

__all__ = ["free_port", "rakaia"]


def free_port() -> int:
    """A loopback port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def rakaia(*, long_poll_seconds: float = 0.6, port: int = 0) -> Iterator[StreamServer]:
    """Runs rakaia's ASGI application, in memory."""
    env = os.environ | {"LONG_POLL_TIMEOUT": str(long_poll_seconds)}
    with ExitStack() as stack:
        for attempt in range(5):
            chosen = port or free_port()
            command = [
                sys.executable,
                "-m",
                "uvicorn",
                "rakaia:app",
                "--port",
                str(chosen),
                "--log-level",
                "critical",
            ]
            command += [
                "--timeout-graceful-shutdown",
                "1",
            ]  # its event streams outlive their readers
            url = f"http://127.0.0.1:{chosen}"
            try:
                # uvicorn imports from its directory first, and this one has a rakaia.py.
                server = stack.enter_context(
                    serving(command, env=env, cwd=Path(__file__).parents[2], url=url)
                )
                break
            except RuntimeError:
                # Between choosing the port and the start, somebody else may have taken it.
                if port or attempt == 4:
                    raise
        yield server
