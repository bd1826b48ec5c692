"""The listeners: a websocket of ours, and the reference client on the stream itself."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from bench.databases import connection_settings
from bench.processes import cpu
from tests.servers.rakaia import free_port
from tests.servers.reference import INTEROP

__all__ = ["Arrivals", "direct", "wait_until_open", "websocket"]

SECONDS = 20.0
"""The most seconds until a server listens, or everything has arrived."""


class Arrivals:
    """When each entity's key was first seen, in nanoseconds of the monotonic clock."""

    def __init__(self, pid: int) -> None:
        self.seen: dict[str, int] = {}
        self._pid = pid
        self._changed = threading.Condition()

    def cpu(self) -> float:
        """CPU seconds of the process that serves it; 0 if unknown."""
        with suppress(OSError):
            return cpu(self._pid)
        return 0.0

    def note(self, keys: list[str], now: int) -> None:
        """These are here."""
        with self._changed:
            for key in keys:
                self.seen.setdefault(key, now)
            self._changed.notify_all()

    def wait_for(self, key: str) -> None:
        """Raises: RuntimeError, if it does not come."""
        with self._changed:
            if not self._changed.wait_for(lambda: key in self.seen, SECONDS):
                raise RuntimeError(f"{key} did not arrive.")


@contextmanager
def websocket(alias: str, stream: str, redis: str) -> Iterator[Arrivals]:
    """Runs uvicorn, and listens to the stream's websocket."""
    port = free_port()
    environment = os.environ | {
        "DJANGO_SETTINGS_MODULE": "bench.settings",
        "BENCH_DATABASE": json.dumps(connection_settings(alias)),
        "BENCH_DURABLE_STATE": json.dumps({"POLICY": "bench.latency.policy.Everybody"}),
        "BENCH_REDIS": redis,
    }
    command = [sys.executable, "-m", "uvicorn", "bench.latency.asgi:application"]
    command += ["--port", str(port), "--lifespan", "off", "--log-level", "warning"]
    with _process(command, env=environment) as process:
        wait_until_open(port, process)
        with connect(f"ws://127.0.0.1:{port}/ws/state/{stream}/", max_size=None) as client:
            arrivals = Arrivals(process.pid)
            threading.Thread(target=_listen, args=(client, arrivals), daemon=True).start()
            yield arrivals


@contextmanager
def direct(url: str) -> Iterator[Arrivals]:
    """Runs the reference client, by SSE."""
    command = ["node", str(Path(__file__).with_name("direct.mjs")), url]
    with _process(command, cwd=INTEROP, stdout=subprocess.PIPE, text=True) as process:
        arrivals = Arrivals(process.pid)
        threading.Thread(target=_read, args=(process.stdout, arrivals), daemon=True).start()
        yield arrivals


def _listen(client: ClientConnection, arrivals: Arrivals) -> None:
    with suppress(ConnectionClosed):
        for frame in client:
            now = time.monotonic_ns()
            items = json.loads(frame)["items"]
            arrivals.note([item["key"] for item in items if "key" in item], now)


def _read(lines: IO[str], arrivals: Arrivals) -> None:
    for line in lines:
        key, at = line.split()
        arrivals.note([key], int(at))


@contextmanager
def _process(command: list[str], **options: Any) -> Iterator[subprocess.Popen[Any]]:
    process = subprocess.Popen(command, stdin=subprocess.PIPE, **options)
    try:
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=SECONDS)


def wait_until_open(port: int, process: subprocess.Popen[Any]) -> None:
    """Returns once something listens there. Raises: RuntimeError."""
    until = time.monotonic() + SECONDS
    while process.poll() is None and time.monotonic() < until:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    raise RuntimeError("uvicorn did not start.")
