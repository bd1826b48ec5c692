"""Connections are reused, and a thousand of them cost no more each than one."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import httpx
import pytest

from durable_state.transport import connections, open_client
from durable_state.transport.connections import Connections
from tests.servers.misbehaving import MisbehavingServer, Reply

from .support.answers import empty
from .support.reading import read


@pytest.fixture
async def pool() -> AsyncIterator[Connections]:
    """Connections of this test's event loop."""
    async with Connections(trust_env=False) as opened:
        yield opened


@pytest.fixture
async def client(pool: Connections) -> AsyncIterator[httpx.AsyncClient]:
    """A client that uses them."""
    async with open_client(transport=pool) as opened:
        yield opened


async def test_one_after_the_other_share_a_connection(
    client: httpx.AsyncClient, misbehaving_server: MisbehavingServer
) -> None:
    """Concurrent requests need one each; those that the server does not end are kept for the
    next.
    """
    misbehaving_server.replies(Reply(200, pieces=(b"x",), pause=0.05))
    for _ in range(3):
        await client.get(misbehaving_server.url)
    assert misbehaving_server.connections == 1
    await asyncio.gather(*(client.get(misbehaving_server.url) for _ in range(3)))
    assert misbehaving_server.connections == 3


@pytest.mark.parametrize(
    "reply",
    [
        Reply(200, pieces=(b"x",), framing="close"),
        Reply(200, pieces=(b"xx",), cut=1, framing="chunked"),
        Reply(200, {"Connection": "close"}, (b"x",)),
        Reply(reset=True),
    ],
    ids=["no length", "cut", "said", "reset"],
)
async def test_a_connection_that_has_ended_is_not_used_again(
    client: httpx.AsyncClient, misbehaving_server: MisbehavingServer, reply: Reply
) -> None:
    """The next request gets a new one."""
    misbehaving_server.replies(reply, Reply(200, pieces=(b"y",)))
    with contextlib.suppress(httpx.RemoteProtocolError):
        await client.get(misbehaving_server.url)
    assert (await client.get(misbehaving_server.url)).content == b"y"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_connection_that_ends_as_it_is_used_again_is_no_failure(
    client: httpx.AsyncClient, misbehaving_server: MisbehavingServer, method: str
) -> None:
    """The server's limit for idle connections may expire at that moment: another one is opened."""
    answers = iter([Reply(200, pieces=(b"x",)), Reply(reset=True), Reply(200, pieces=(b"y",))])
    misbehaving_server.reply = lambda asked: next(answers)
    assert (await client.get(misbehaving_server.url)).content == b"x"
    if method == "HEAD":
        misbehaving_server.head = Reply(reset=True)
        with pytest.raises(httpx.RemoteProtocolError):  # the new one ends too
            await client.head(misbehaving_server.url)
        assert len(misbehaving_server.heads) == 2
    else:
        assert (await client.get(misbehaving_server.url)).content == b"y"
        assert len(misbehaving_server.asked) == 3
    assert misbehaving_server.connections == 2


async def test_what_writes_is_not_sent_again(
    client: httpx.AsyncClient, misbehaving_server: MisbehavingServer
) -> None:
    """The server may have handled it before it ended the connection."""
    misbehaving_server.replies(Reply(200, pieces=(b"x",)), Reply(reset=True))
    await client.get(misbehaving_server.url)
    with pytest.raises(httpx.RemoteProtocolError):
        await client.post(misbehaving_server.url, content=b"[1]")
    assert [asked.method for asked in misbehaving_server.asked] == ["GET", "POST"]


async def test_an_answer_that_is_not_wanted_leaves_nothing_open(
    client: httpx.AsyncClient, pool: Connections, misbehaving_server: MisbehavingServer
) -> None:
    """The rest of it would be taken for the next answer."""
    misbehaving_server.replies(
        Reply(200, pieces=(b"x" * 100_000,) * 9, pause=0.02), Reply(200, pieces=(b"y",))
    )
    async with client.stream("GET", misbehaving_server.url):
        pass
    assert not pool._open
    assert (await client.get(misbehaving_server.url)).content == b"y"


async def test_long_polls_that_bring_nothing_share_a_connection(
    client: httpx.AsyncClient, misbehaving_server: MisbehavingServer
) -> None:
    """A separate connection for each would cost a quiet stream more than anything else,
    especially with TLS.
    """
    nothing = Reply(204, {"Stream-Next-Offset": "a", "Stream-Up-To-Date": "true"})
    misbehaving_server.reply = lambda asked: (
        nothing if "live" in asked.query else empty("a", "Stream-Up-To-Date")
    )
    reading = read(
        client,
        misbehaving_server.url,
        live="long-poll",
        until=lambda found: len(misbehaving_server.asked) > 2,
    )
    assert [batch.messages for batch in await reading] == [[], [], []]
    assert misbehaving_server.connections == 1


async def test_idle_connections_are_few_and_do_not_stay(
    client: httpx.AsyncClient,
    pool: Connections,
    misbehaving_server: MisbehavingServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Idle connections do not use up a server's own limit."""
    monkeypatch.setattr(connections, "MOST_IDLE", 2)
    misbehaving_server.replies(Reply(200, pieces=(b"x",), pause=0.05))
    await asyncio.gather(*(client.get(misbehaving_server.url) for _ in range(5)))
    assert len(pool._open) == 2
    monkeypatch.setattr(connections, "IDLE_SECONDS", 0.05)
    await asyncio.gather(*(client.get(misbehaving_server.url) for _ in range(3)))
    await asyncio.sleep(0.1)
    await client.get(misbehaving_server.url)
    assert len(pool._open) <= 2


async def test_many_that_wait_do_not_slow_down_the_next(
    client: httpx.AsyncClient, misbehaving_server: MisbehavingServer
) -> None:
    """httpx's own pool goes through all of them for each request: 60 ms beside a hundred."""
    waiting = Reply(200, pieces=(b"x",), cut=1, framing="chunked", silent=True)
    quick = Reply(200, pieces=(b"y",))
    misbehaving_server.reply = lambda asked: waiting if asked.path == "/waits" else quick

    async def cost(requests: int = 50) -> float:
        began = time.process_time()
        for _ in range(requests):
            await client.get(misbehaving_server.url)
        return (time.process_time() - began) / requests

    await cost()
    alone = await cost()
    async with AsyncExitStack() as waiting_answers:
        url = misbehaving_server.url + "/waits"
        for _ in range(200):
            await waiting_answers.enter_async_context(client.stream("GET", url))
        beside = await cost()
    assert beside < 3 * alone
