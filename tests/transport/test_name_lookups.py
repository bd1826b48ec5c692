"""A resolver that does not answer affects only the streams whose names it has."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpcore
import pytest

from durable_state.errors import Unavailable
from durable_state.transport import head, open_client
from durable_state.transport.name_lookups import NameLookups
from tests.servers.misbehaving import MisbehavingServer, Reply


class Resolver:
    """The machine's resolver, which never answers for names that begin with "hangs", and knows
    "two".
    """

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.released = threading.Event()
        self._real = socket.getaddrinfo

    def __call__(self, host: str, port: int, *args: Any, **kwargs: Any) -> list[Any]:
        self.asked.append(host)
        if host.startswith("hangs"):
            self.released.wait(30)
        if host == "two":
            return [
                (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
                for address in ("127.0.0.9", "127.0.0.1")
            ]
        return self._real(host, port, *args, **kwargs)


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Resolver]:
    """Replaces the machine's, for this test."""
    made = Resolver()
    monkeypatch.setattr(socket, "getaddrinfo", made)
    yield made
    made.released.set()
    for thread in threading.enumerate():
        if thread.name == "durable-state-names":
            thread.join(10)


async def test_names_that_hang_hold_up_nobody_else(
    resolver: Resolver, misbehaving_server: MisbehavingServer
) -> None:
    """However many there are; and each is looked up once at a time, whoever waits for it."""
    misbehaving_server.head = Reply(200, {"Stream-Next-Offset": "a"})
    healthy = misbehaving_server.url.replace("127.0.0.1", "localhost")
    async with open_client(trust_env=False) as client, asyncio.TaskGroup() as group:
        hanging = [
            group.create_task(head(client, f"http://hangs{n % 40}.invalid/s")) for n in range(80)
        ]
        await asyncio.sleep(0.1)
        began = time.monotonic()
        assert (await head(client, healthy)).offset == "a"
        assert time.monotonic() - began < 2
        for task in hanging:
            task.cancel()
    assert sorted(resolver.asked) == sorted(
        ["localhost", *(f"hangs{n}.invalid" for n in range(40))]
    )


async def test_a_name_that_hangs_is_no_connection_in_time(resolver: Resolver) -> None:
    """The stream is tried again later, as with a server that is down."""
    lookups = NameLookups()
    with pytest.raises(httpcore.ConnectTimeout, match=r"hangs\.invalid"):
        await lookups.connect_tcp("hangs.invalid", 80, timeout=0.1)


async def test_a_name_that_is_unknown_is_told(resolver: Resolver) -> None:
    """With the name."""
    async with open_client(trust_env=False) as client:
        with pytest.raises(Unavailable, match=r"cannot be reached: unknown\.invalid"):
            await head(client, "http://unknown.invalid/s")


async def test_the_second_address_is_tried(
    resolver: Resolver, misbehaving_server: MisbehavingServer
) -> None:
    """If nobody listens on the first."""
    misbehaving_server.head = Reply(200, {"Stream-Next-Offset": "a"})
    async with open_client(trust_env=False) as client:
        url = misbehaving_server.url.replace("127.0.0.1", "two")
        assert (await head(client, url)).offset == "a"
