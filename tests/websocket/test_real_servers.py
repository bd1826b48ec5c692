"""Two uvicorn processes, a Redis between them and the committing process, and clients with real
cookies.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Origin, Subprotocol

from tests.feed.support.client import Client
from tests.feed.support.commits import commit_and_ring, make_stream, message, shown

from .support.serving import Server, cookie, read_until_revision, serving

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def servers(transactional_db: None, redis_url: str, settings: Any) -> Iterator[list[Server]]:
    """Two of the same kind."""
    with serving(["uvicorn", "uvicorn"], redis_url, settings) as found:
        yield found


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
    """Anonymous clients are accepted and get 4401, whatever the name; a frame that is too large
    gets its code, after a handshake with a token; a foreign page is refused before that.
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
