"""Frames that no proper client sends, through real sockets to a real server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.feed.support.commits import commit_and_ring, make_stream, message

from .support.serving import Server, cookie, serving

pytestmark = pytest.mark.django_db(transaction=True)

MISTAKES = [
    pytest.param(b"\x00\xff", id="binary"),
    pytest.param("[" * 60_000, id="deep"),
    pytest.param("{", id="half"),
    pytest.param('{"subscribe":"chat","types":{}}', id="types"),
    pytest.param('{"subscribe":"","id":"x"}', id="empty"),
    pytest.param('{"subscribe":"chat","key":["typo"]}', id="typo"),
    pytest.param('{"ping":' + "9" * 5000 + "}", id="digits"),
]


@pytest.fixture
def server(transactional_db: None, redis_url: str, settings: Any) -> Iterator[Server]:
    """Uvicorn, which serves the test's database."""
    with serving(["uvicorn"], redis_url, settings) as (found,):
        yield found


async def told(socket: ClientConnection) -> dict[str, Any]:
    frame: dict[str, Any] = json.loads(await asyncio.wait_for(socket.recv(), 10))
    return frame


async def test_each_mistake_is_answered_and_the_socket_lives(
    server: Server, make_user: Any
) -> None:
    """Too large a frame, compressed to almost nothing, closes only its own socket."""
    stream = await sync_to_async(make_stream)()
    await commit_and_ring(stream, {("message", "a"): message("x")})
    user = await sync_to_async(make_user)(superuser=True)
    headers = {"Cookie": await sync_to_async(cookie)(user)}
    url = f"ws://{server.address}/ws/state/"
    async with connect(url, additional_headers=headers) as socket:
        assert "heartbeat" in await told(socket)
        for mistake in MISTAKES:
            sent: Any = mistake.values[0]
            await socket.send(sent)
            assert "error" in await told(socket), mistake.id
        async with connect(url, additional_headers=headers) as large:
            assert "heartbeat" in await told(large)
            await large.send('{"ping":"' + "x" * 1_000_000 + '"}')
            with pytest.raises(ConnectionClosed) as closed:
                await told(large)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1009
        await socket.send('{"subscribe":"chat","id":"1"}')
        while not (frame := await told(socket)).get("upToDate"):
            pass
        assert frame["id"] == "1"


async def test_a_flood_of_pings_holds_up_nobody_else(server: Server, make_user: Any) -> None:
    """Sent by a client that reads no answers; the server keeps little of them."""
    stream = await sync_to_async(make_stream)()
    await commit_and_ring(stream, {})
    user = await sync_to_async(make_user)(superuser=True)
    headers = {"Cookie": await sync_to_async(cookie)(user)}
    url = f"ws://{server.address}/ws/state/"
    ping = json.dumps({"ping": "x" * 60_000})
    async with (
        connect(url, additional_headers=headers, max_queue=1, compression=None) as rude,
        connect(f"{url}chat/", additional_headers=headers) as polite,
    ):
        while not (await told(polite))["upToDate"]:
            pass
        before = server.megabytes()

        async def flood() -> None:
            for _ in range(1000):
                await rude.send(ping)

        flooding = asyncio.create_task(flood())
        await asyncio.wait([flooding], timeout=2)
        assert not flooding.done()  # nobody reads the answers, so no more requests are read
        await commit_and_ring(stream, {("message", "a"): message("x")})
        async with asyncio.timeout(5):
            while not (await told(polite))["items"]:
                pass
        assert server.megabytes() - before < 40
        flooding.cancel()
        await asyncio.wait([flooding])
        rude.transport.abort()
