"""A process that follows many streams listens once, and polls once, for all of them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from channels.layers import get_channel_layer

from durable_state.feed import Hub, hub, polling, subscribe
from durable_state.feed.log_end import read_heads, read_log_end
from durable_state.models import Status, Stream

from .support.commits import commit, commit_and_ring, make_stream, message, shown
from .support.following import follow
from .support.layers import either_layer, redis_layer

pytestmark = pytest.mark.django_db(transaction=True)


@contextlib.asynccontextmanager
async def followed(count: int) -> AsyncIterator[tuple[list[Stream], list[Hub]]]:
    """So many streams, all of them followed."""
    streams = [await sync_to_async(make_stream)(f"stream-{n}") for n in range(count)]
    async with contextlib.AsyncExitStack() as stack:
        yield streams, [await stack.enter_async_context(subscribe(each)) for each in streams]


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not is_so():  # noqa: ASYNC110  (a state has no event)
            await asyncio.sleep(0.01)


async def test_three_tasks_and_one_channel_serve_all(configure: Callable[..., None]) -> None:
    """A bell is heard only by the hub of its stream."""
    configure(FEED_POLL_SECONDS=1000)
    before = asyncio.all_tasks()
    async with followed(30) as (streams, hubs):
        await until(lambda: all(each.is_joined and each.revision == 0 for each in hubs))
        await until(lambda: len(asyncio.all_tasks() - before) == 3)
        layer: Any = get_channel_layer()
        channels = {channel for members in layer.groups.values() for channel in members}
        assert (len(layer.groups), len(channels)) == (30, 1)

        await commit_and_ring(streams[7], {("message", "a"): message("x")})
        await until(lambda: hubs[7].revision == 1)
        assert [each.revision for each in hubs].count(0) == 29
    assert asyncio.all_tasks() == before
    assert not layer.groups


async def test_one_query_asks_for_all(
    settings: Any, configure: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each round of polling is one query, and logs are read only if something is new."""
    settings.CHANNEL_LAYERS = {}
    configure(FEED_POLL_SECONDS=0.05)
    rounds: list[int] = []
    read: list[int] = []

    def noting_heads(using: str, pks: list[int]) -> Any:
        rounds.append(len(pks))
        return read_heads(using, pks)

    def noting_end(using: str, stream_pk: int, *rest: Any) -> Any:
        read.append(stream_pk)
        return read_log_end(using, stream_pk, *rest)

    monkeypatch.setattr(polling, "read_heads", noting_heads)
    monkeypatch.setattr(hub, "read_log_end", noting_end)
    async with followed(30) as (streams, hubs):
        await until(lambda: all(each.revision == 0 and not each._looking for each in hubs))
        read.clear()
        rounds.clear()
        await until(lambda: len(rounds) >= 3)
        assert set(rounds) == {30}
        assert not read
        await sync_to_async(commit)(streams[3], {("message", "a"): message("x")})
        await until(lambda: hubs[3].revision == 1)
        assert read == [streams[3].pk]


@either_layer
async def test_a_stream_that_is_left_and_followed_again_is_heard(
    backend: str, settings: Any, redis_url: str, configure: Callable[..., None]
) -> None:
    """However fast, and while another one keeps the channel open."""
    redis_layer(settings, redis_url, backend=backend)
    configure(FEED_POLL_SECONDS=1000)
    async with followed(1):
        stream = await sync_to_async(make_stream)()
        for _ in range(20):
            async with subscribe(stream):
                await asyncio.sleep(0)
        async with follow(stream) as follower:
            await until(lambda: follower.hub.is_joined)
            await asyncio.sleep(0.1)
            await commit_and_ring(stream, {("message", "a"): message("x")})
            await follower.until_revision(1)
            assert follower.client.state == await sync_to_async(shown)(stream)
            assert follower.hub.rings


async def test_bells_that_ring_while_the_database_is_asked_are_not_lost(
    configure: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are handled when the database has answered, in order; what does not fit is read."""
    configure(FEED_POLL_SECONDS=1000)
    monkeypatch.setattr(hub, "UNHEARD_BELLS", 4)
    stream = await sync_to_async(make_stream)()
    async with follow(stream) as follower:
        await until(lambda: follower.hub.is_joined and follower.hub.revision == 0)
        await follower.hub._reading.acquire()
        for number in range(10):
            await commit_and_ring(stream, {("message", "a"): message(str(number))})
        await until(lambda: len(follower.hub._unheard) == 4)
        follower.hub._reading.release()
        await follower.hub.refresh()
        await follower.until_revision(10)
        assert follower.client.state == await sync_to_async(shown)(stream)


async def test_an_end_without_a_commit_is_noticed(configure: Callable[..., None]) -> None:
    """By clients that wait for the next commit, in the next round."""
    configure(FEED_POLL_SECONDS=0.05)
    async with followed(2) as (streams, hubs):
        await until(lambda: all(each.revision == 0 for each in hubs))
        waiting = asyncio.create_task(hubs[0].wait(0, 1000, closed=False))
        await asyncio.sleep(0)
        await Stream.objects.filter(pk=streams[0].pk).aupdate(status=Status.CLOSED)
        await asyncio.wait_for(waiting, 10)
        assert (hubs[0].closed, hubs[1].closed) == (True, False)
