"""The websocket on each ASGI server that Channels names."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from websockets.asyncio.client import connect

from tests.feed.support.client import Client
from tests.feed.support.commits import commit_and_ring, make_stream, message, shown
from tests.servers.require import skip_or_fail

from .support.serving import Server, cookie, read_until_revision, serving

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(params=["uvicorn", "daphne", "hypercorn"])
def kind(request: pytest.FixtureRequest) -> str:
    """Each server that is installed."""
    if importlib.util.find_spec(request.param) is None:
        skip_or_fail(f"{request.param} is not installed")
    return str(request.param)


@pytest.fixture
def server(kind: str, transactional_db: None, redis_url: str, settings: Any) -> Iterator[Server]:
    """It serves the test's database."""
    with serving([kind], redis_url, settings) as (found,):
        yield found


async def test_snapshot_changes_and_resuming(server: Server, make_user: Any) -> None:
    """A client gets the rows, then changes; after it comes back with its offset, only what it
    missed.
    """
    stream = await sync_to_async(make_stream)()
    await commit_and_ring(stream, {("message", str(n)): message("x") for n in range(600)})
    user = await sync_to_async(make_user)("app.view_message", "app.view_setting")
    headers = {"Cookie": await sync_to_async(cookie)(user)}
    url, client = f"ws://{server.address}/ws/state/chat/", Client()
    async with connect(url, additional_headers=headers) as first:
        await read_until_revision(first, client, 1)
        await commit_and_ring(stream, {("message", "1"): message("live")})
        await read_until_revision(first, client, 2)
    for n in range(5):
        revision = await commit_and_ring(stream, {("message", str(n)): None, ("setting", "s"): n})
    async with connect(f"{url}?offset={client.offset}", additional_headers=headers) as second:
        await read_until_revision(second, client, revision)
    assert client.snapshots == 1
    assert client.state == await sync_to_async(shown)(stream)


async def test_a_client_that_does_not_read(kind: str, server: Server, make_user: Any) -> None:
    """Forty megabytes pass by a stalled socket: the client converges once it reads on, others
    are served meanwhile, and a server that reports when a socket is full keeps little of them.
    """
    stream = await sync_to_async(make_stream)()
    await commit_and_ring(stream, {})
    user = await sync_to_async(make_user)("app.view_setting")
    headers = {"Cookie": await sync_to_async(cookie)(user)}
    url = f"ws://{server.address}/ws/state/chat/"
    slow, quick = Client(), Client()
    async with (
        # A queue of one frame: the client library stops reading from the network.
        connect(url, additional_headers=headers, max_queue=1, compression=None) as stalled,
        connect(url, additional_headers=headers, compression=None) as reading,
    ):
        await read_until_revision(stalled, slow, 1)
        await read_until_revision(reading, quick, 1)
        before = server.megabytes()
        for n in range(400):
            revision = await commit_and_ring(
                stream, {("setting", str(n % 3)): f"{n} " + "x" * 100_000}
            )
            if n % 40 == 0:
                await read_until_revision(reading, quick, revision)
        await read_until_revision(reading, quick, revision)
        grown = server.megabytes() - before
        assert grown < 25 or kind == "daphne"  # which cannot report it
        await read_until_revision(stalled, slow, revision)
    assert slow.state == quick.state == await sync_to_async(shown)(stream)
