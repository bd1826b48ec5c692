"""Two uvicorn processes, a Redis between them and the committing process, and clients with real
cookies.
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from asgiref.sync import sync_to_async
from django.db import connection
from django.test import Client as Browser
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Origin, Subprotocol

from tests.feed.support.client import Client
from tests.feed.support.commits import commit_and_ring, make_stream, message, shown

pytestmark = pytest.mark.django_db(transaction=True)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.05)
    pytest.fail("The server did not start.")


class Server(NamedTuple):
    """A server that answers, and its process."""

    address: str
    pid: int

    def megabytes(self) -> float:
        """Resident memory."""
        return int(subprocess.check_output(["ps", "-o", "rss=", "-p", str(self.pid)])) / 1024


@pytest.fixture
def servers(transactional_db: None, redis_url: str, settings: Any) -> Iterator[list[Server]]:
    """Two servers; the test process rings through the same Redis."""
    prefix = f"sockets-{time.time_ns()}"
    settings.CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
            "CONFIG": {"hosts": [redis_url], "prefix": prefix},
        }
    }
    database = str(connection.settings_dict["NAME"])
    ports = [free_port(), free_port()]
    processes = [
        subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tests.websocket.support.server",
                str(port),
                database,
                redis_url,
                prefix,
            ],
            env=os.environ,
        )
        for port in ports
    ]
    try:
        for port, process in zip(ports, processes, strict=True):
            wait_for(port, process)
        yield [
            Server(f"127.0.0.1:{port}", process.pid)
            for port, process in zip(ports, processes, strict=True)
        ]
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(10)


def cookie(user: Any) -> str:
    browser = Browser()
    browser.force_login(user)
    return f"sessionid={browser.cookies['sessionid'].value}"


async def read_until_revision(socket: ClientConnection, client: Client, revision: int) -> None:
    while not (client.up_to_date and client.offset.endswith(f".{revision}")):
        client.fold(str(await asyncio.wait_for(socket.recv(), 10)))


async def test_a_commit_here_reaches_every_socket_there(
    servers: list[Server], make_user: Any
) -> None:
    """Ten sockets on two servers follow a burst of commits made in this process."""
    stream = await sync_to_async(make_stream)()
    await commit_and_ring(stream, {("message", str(n)): message("x") for n in range(450)})
    session = {
        "Cookie": await sync_to_async(cookie)(
            await sync_to_async(make_user)("app.view_message", "app.view_setting")
        )
    }
    sockets = [
        await connect(
            f"ws://{servers[n % 2].address}/ws/state/chat/",
            additional_headers=session,
            origin=Origin(f"http://{servers[n % 2].address}"),
        )
        for n in range(10)
    ]
    clients = [Client() for _ in sockets]
    await asyncio.gather(
        *(read_until_revision(*pair, 1) for pair in zip(sockets, clients, strict=True))
    )
    for n in range(150):
        revision = await commit_and_ring(
            stream, {("message", str(n)): None, ("setting", str(n % 5)): n}
        )
    await asyncio.gather(
        *(read_until_revision(*pair, revision) for pair in zip(sockets, clients, strict=True))
    )
    state = await sync_to_async(shown)(stream)
    assert len(state) == 305
    assert all(client.state == state and client.snapshots == 1 for client in clients)
    for socket_ in sockets:
        await socket_.close()


async def test_browsers_see_the_close_code(servers: list[Server]) -> None:
    """Who is not signed in is accepted and told 4401, whatever the name; a frame that is too large
    is told so, after a handshake with a token; a foreign page is refused before that.
    """
    root = f"ws://{servers[0].address}/ws/state/"
    for name in ("chat/", "no%20name/", "a/b"):
        async with connect(root + name) as nobody:
            with pytest.raises(ConnectionClosed) as closed:
                await nobody.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4401
    offered = [Subprotocol("jwt"), Subprotocol("token")]
    async with connect(root, subprotocols=offered) as nobody:
        assert nobody.subprotocol == "jwt"
        assert "heartbeat" in str(await nobody.recv())
        await nobody.send("x" * 70_000)
        with pytest.raises(ConnectionClosed) as closed:
            await nobody.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009
    with pytest.raises(InvalidStatus) as refused:
        await connect(
            f"ws://{servers[0].address}/ws/state/chat/", origin=Origin("https://evil.test")
        )
    assert refused.value.response.status_code == 403


async def test_a_client_that_does_not_read_costs_no_memory(
    servers: list[Server], make_user: Any
) -> None:
    """Forty megabytes pass by a stalled socket; the server keeps little of them, and the client
    converges once it reads on.
    """
    stream = await sync_to_async(make_stream)()
    await commit_and_ring(stream, {})
    session = {
        "Cookie": await sync_to_async(cookie)(await sync_to_async(make_user)("app.view_setting"))
    }
    url = f"ws://{servers[0].address}/ws/state/chat/"
    client = Client()
    # A queue of one frame: the client library stops reading from the network.
    async with connect(url, additional_headers=session, max_queue=1, compression=None) as stalled:
        await read_until_revision(stalled, client, 1)
        before = servers[0].megabytes()
        for n in range(400):
            revision = await commit_and_ring(
                stream, {("setting", str(n % 3)): f"{n} " + "x" * 100_000}
            )
        await asyncio.sleep(0.7)
        assert servers[0].megabytes() - before < 25
        await read_until_revision(stalled, client, revision)
    assert client.state == await sync_to_async(shown)(stream)
