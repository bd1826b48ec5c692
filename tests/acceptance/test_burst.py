"""A burst of commits to many sockets, some of them slow, while the channel layer is restarted."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import urlsplit

import pytest
from asgiref.sync import sync_to_async
from websockets.asyncio.client import ClientConnection, connect

from tests.feed.support.client import Client
from tests.feed.support.commits import commit_and_ring, make_stream, shown
from tests.feed.support.fixtures import fresh_layers
from tests.feed.support.proxy import Proxy
from tests.websocket.support.fixtures import make_user
from tests.websocket.support.serving import cookie, serving

__all__ = ["fresh_layers", "make_user"]

pytestmark = [pytest.mark.acceptance, pytest.mark.django_db(transaction=True)]

SUBSCRIBERS = 200
COMMITS = 300
SLOW_SECONDS = 0.1
"""Seconds between two frames that a slow client reads during the burst."""
MEGABYTES = 60.0
"""The most by which the web process may grow; 240 MB are sent."""


async def read(
    socket: ClientConnection, client: Client, ends: asyncio.Future[int], seconds: float
) -> None:
    """Folds frames, slowly until the last revision is known, and returns once it has arrived."""
    while not (ends.done() and client.up_to_date and client.offset.endswith(f".{ends.result()}")):
        client.fold(str(await asyncio.wait_for(socket.recv(), 60)))
        if seconds and not ends.done():
            await asyncio.sleep(seconds)


async def test_everybody_converges(redis_url: str, settings: Any, make_user: Any) -> None:
    """300 commits to 200 subscribers; Redis is down for a second in the middle, and one socket
    in ten is slow. All end with the rows, without a second snapshot, and the server hardly
    grows.
    """
    url = urlsplit(redis_url)
    proxy = Proxy(url.hostname or "", url.port or 6379)
    await proxy.start()
    stream = await sync_to_async(make_stream)()
    user = await sync_to_async(make_user)("app.view_setting")
    headers = {"Cookie": await sync_to_async(cookie)(user)}
    clients = [Client() for _ in range(SUBSCRIBERS)]
    ends: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    async with AsyncExitStack() as stack:
        layer = f"redis://127.0.0.1:{proxy.port}{url.path}"
        (server,) = stack.enter_context(serving(["uvicorn"], layer, settings))
        reading = []
        for number, client in enumerate(clients):
            # A queue of one frame: a slow client lets the server's buffers fill.
            opening = connect(
                f"ws://{server.address}/ws/state/chat/",
                additional_headers=headers,
                max_queue=1,
                compression=None,
            )
            socket = await stack.enter_async_context(opening)
            seconds = SLOW_SECONDS if number % 10 == 0 else 0.0
            reading.append(asyncio.create_task(read(socket, client, ends, seconds)))
        async with asyncio.timeout(60):
            while not all(client.offset not in ("", "-1") for client in clients):  # noqa: ASYNC110
                await asyncio.sleep(0.1)

        before = server.megabytes()
        for number in range(COMMITS):
            revision = await commit_and_ring(
                stream, {("setting", str(number % 7)): f"{number} " + "x" * 4_000}
            )
            if number == COMMITS // 3:
                await proxy.cut()
            if number == COMMITS // 2:
                await proxy.start()
        ends.set_result(revision)
        grown = server.megabytes() - before
        await asyncio.gather(*reading)

    assert grown < MEGABYTES
    state = await sync_to_async(shown)(stream)
    assert len(state) == 7
    assert all(client.state == state and client.snapshots == 1 for client in clients)
    await proxy.cut()
