"""ASGI servers in separate processes, which ring through the same Redis as the test."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import pytest
from django.db import connection
from django.test import Client as Browser
from websockets.asyncio.client import ClientConnection

from tests.feed.support.client import Client

__all__ = ["Server", "cookie", "read_until_revision", "serving"]


class Server(NamedTuple):
    """A server that answers, and its process."""

    address: str
    pid: int

    def megabytes(self) -> float:
        """Resident memory."""
        return int(subprocess.check_output(["ps", "-o", "rss=", "-p", str(self.pid)])) / 1024


def cookie(user: Any) -> str:
    """The header of a browser in which the user has signed in."""
    browser = Browser()
    browser.force_login(user)
    return f"sessionid={browser.cookies['sessionid'].value}"


async def read_until_revision(socket: ClientConnection, client: Client, revision: int) -> None:
    """Folds frames until that commit has arrived, and nothing is missing."""
    while not (client.up_to_date and client.offset.endswith(f".{revision}")):
        client.fold(str(await asyncio.wait_for(socket.recv(), 10)))


@contextmanager
def serving(kinds: Sequence[str], redis_url: str, settings: Any) -> Iterator[list[Server]]:
    """A server of each kind ("uvicorn", "daphne", "hypercorn")."""
    prefix = f"sockets-{time.time_ns()}"
    settings.CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
            "CONFIG": {"hosts": [redis_url], "prefix": prefix},
        }
    }
    database = str(connection.settings_dict["NAME"])
    command = [sys.executable, "-m", "tests.websocket.support.server"]
    ports = [_free_port() for _ in kinds]
    processes = [
        subprocess.Popen([*command, kind, str(port), database, redis_url, prefix], env=os.environ)
        for kind, port in zip(kinds, ports, strict=True)
    ]
    try:
        for port, process in zip(ports, processes, strict=True):
            _wait_for(port, process)
        yield [
            Server(f"127.0.0.1:{port}", process.pid)
            for port, process in zip(ports, processes, strict=True)
        ]
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(10)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.05)
    pytest.fail("The server did not start.")
