"""One subscription serves all sockets of a stream, whatever the channel layer drops."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
from asgiref.sync import sync_to_async
from channels.layers import InMemoryChannelLayer
from django.db import connection
from redis.asyncio import Redis

from durable_state.feed import (
    Hub,
    StreamRemoved,
    TooManySubscribers,
    bell,
    listening,
    log_end,
    polling,
    subscribe,
)
from durable_state.feed.group import Group
from durable_state.feed.listening import Listening
from durable_state.feed.rendering import Rendering
from durable_state.models import Status, Stream

from .support.commits import commit, commit_and_ring, make_stream, message, shown
from .support.following import Follower, follow
from .support.layers import CORE, either_layer, redis_layer
from .support.proxy import Proxy

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The revisions of the bells that arrived."""
    bells: list[int] = []
    pass_on = Listening._pass_on

    def noting(self: Listening, bell: dict[str, Any]) -> None:
        bells.append(bell["revision"])
        pass_on(self, bell)

    monkeypatch.setattr(Listening, "_pass_on", noting)
    return bells


@contextlib.asynccontextmanager
async def crowd(stream: Stream, count: int) -> AsyncIterator[list[Follower]]:
    async with contextlib.AsyncExitStack() as stack:
        yield [await stack.enter_async_context(follow(stream)) for _ in range(count)]


async def all_reach(followers: list[Follower], revision: int, state: object) -> None:
    await asyncio.gather(*(each.until_revision(revision) for each in followers))
    assert all(each.client.state == state for each in followers)


async def test_without_a_layer_the_log_is_polled(
    settings: Any, configure: Callable[..., None]
) -> None:
    """Without a channel layer: slower, never wrong."""
    settings.CHANNEL_LAYERS = {}
    configure(FEED_POLL_SECONDS=0.05)
    stream = await sync_to_async(make_stream)()
    async with crowd(stream, 3) as followers:
        await commit_and_ring(stream, {("message", "a"): message("x")})
        await all_reach(followers, 1, await sync_to_async(shown)(stream))


async def test_a_bell_saves_the_look_into_the_log(
    configure: Callable[..., None], heard: list[int]
) -> None:
    """A small commit reaches the subscribers through its bell alone, long before the next poll."""
    configure(FEED_POLL_SECONDS=1000)
    stream = await sync_to_async(make_stream)()
    await commit_and_ring(stream, {})
    async with crowd(stream, 3) as followers:
        await all_reach(followers, 1, {})
        await commit_and_ring(stream, {("message", "a"): message("x")})
        await all_reach(followers, 2, await sync_to_async(shown)(stream))
    assert heard == [2]


async def test_a_gap_between_bells_is_healed_from_the_log(
    configure: Callable[..., None], heard: list[int]
) -> None:
    """A bell whose number is not the next one makes the hub read what it missed, at once."""
    configure(FEED_POLL_SECONDS=1000)
    stream = await sync_to_async(make_stream)()
    await commit_and_ring(stream, {})
    async with crowd(stream, 2) as followers:
        await all_reach(followers, 1, {})
        for n in range(5):
            await sync_to_async(commit)(stream, {("message", str(n)): message("x")})
        await commit_and_ring(stream, {("message", "last"): message("x")})
        await all_reach(followers, 7, await sync_to_async(shown)(stream))
        assert all(each.client.snapshots == 1 for each in followers)
    assert heard == [7]


async def test_bells_lost_over_redis(
    settings: Any, redis_url: str, configure: Callable[..., None], heard: list[int]
) -> None:
    """Of a burst that overflows the layer while this process is busy, only one bell arrives; all
    subscribers still converge.
    """
    redis_layer(settings, redis_url, capacity=1)
    configure(FEED_POLL_SECONDS=0.05)
    stream = await sync_to_async(make_stream)()
    bells = []
    async with crowd(stream, 50) as followers:
        await all_reach_start(followers)
        for n in range(200):
            bells.append(
                await sync_to_async(commit)(stream, {("message", str(n % 30)): message(str(n))})
            )

        async def ring_all() -> None:
            for revision, payload in bells:
                await bell.ring(stream.name, stream.pk, revision, "default", payload)

        elsewhere = threading.Thread(target=lambda: asyncio.run(ring_all()))
        elsewhere.start()
        # Deliberately without yielding: nobody here takes a bell out of the layer meanwhile.
        elsewhere.join()
        await all_reach(followers, 200, await sync_to_async(shown)(stream))
        assert len(heard) < 10
        # On a busy machine the layer was given up meanwhile; it is used again a little later.
        async with asyncio.timeout(20):
            while not any(revision > 200 for revision in heard):
                await commit_and_ring(stream, {})
                await asyncio.sleep(0.1)


@either_layer
async def test_redis_goes_away_and_comes_back(
    backend: str,
    settings: Any,
    redis_url: str,
    configure: Callable[..., None],
    heard: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While Redis is down, commits continue and the log is polled; afterwards bells are heard
    again.
    """
    # A layer on Redis' own publishing does not report that Redis is down: a check has to find out.
    monkeypatch.setattr(polling, "SAFETY_FACTOR", 100_000 if backend == CORE else 10)
    monkeypatch.setattr(listening, "BACKOFF_SECONDS", 0.1)
    monkeypatch.setattr(bell, "SILENCE_SECONDS", 0.05)
    configure(FEED_POLL_SECONDS=0.05)
    url = urlsplit(redis_url)
    proxy = Proxy(url.hostname or "", url.port or 6379)
    await proxy.start()
    redis_layer(settings, f"redis://127.0.0.1:{proxy.port}{url.path}", backend=backend)
    stream = await sync_to_async(make_stream)()
    async with crowd(stream, 3) as followers:
        await commit_and_ring(stream, {})
        await all_reach(followers, 1, {})
        await proxy.cut()
        await commit_and_ring(stream, {("message", "a"): message("x")})
        await all_reach(followers, 2, await sync_to_async(shown)(stream))
        await proxy.start()
        revision = 2
        before = len(heard)
        async with asyncio.timeout(10):
            while len(heard) == before:
                await asyncio.sleep(0.1)
                revision = await commit_and_ring(stream, {("message", "b"): message(str(revision))})
        await all_reach(followers, revision, await sync_to_async(shown)(stream))
    await proxy.cut()


@either_layer
async def test_a_bell_crosses_redis(
    backend: str,
    settings: Any,
    redis_url: str,
    configure: Callable[..., None],
    heard: list[int],
) -> None:
    """Many sockets of one stream are one member of its group, and each bell is heard once."""
    redis_layer(settings, redis_url, backend=backend)
    configure(FEED_POLL_SECONDS=1000)
    stream = await sync_to_async(make_stream)()
    await commit_and_ring(stream, {})
    async with crowd(stream, 3) as followers:
        await all_reach(followers, 1, {})
        await joined(followers[0].hub)
        for number in range(2, 7):
            await commit_and_ring(stream, {("message", "a"): message(str(number))})
            await all_reach(followers, number, await sync_to_async(shown)(stream))
    assert heard == [2, 3, 4, 5, 6]


@either_layer
async def test_a_flushed_redis_costs_one_bell(
    backend: str,
    settings: Any,
    redis_url: str,
    configure: Callable[..., None],
    heard: list[int],
) -> None:
    """Where the layer keeps its groups in keys, the first commit waits for the next poll, which
    has the group joined again; where it does not, nothing is lost.
    """
    redis_layer(settings, redis_url, backend=backend)
    configure(FEED_POLL_SECONDS=0.1)
    stream = await sync_to_async(make_stream)()
    async with crowd(stream, 1) as followers:
        await all_reach_start(followers)
        await joined(followers[0].hub)
        async with Redis.from_url(redis_url) as redis:
            prefix = settings.CHANNEL_LAYERS["default"]["CONFIG"]["prefix"]
            keys = [key async for key in redis.scan_iter(f"{prefix}*")]
            assert bool(keys) == (backend == CORE)
            await redis.delete("none", *keys)
        await commit_and_ring(stream, {("message", "a"): message("x")})
        await all_reach(followers, 1, {("message", "a"): message("x")})
        assert heard == ([] if backend == CORE else [1])
        async with asyncio.timeout(10):
            while not any(revision > 1 for revision in heard):
                await commit_and_ring(stream, {})
                await asyncio.sleep(0.05)


async def joined(hub: Hub) -> None:
    async with asyncio.timeout(5):
        while not hub.is_joined:  # noqa: ASYNC110  (a text has no event)
            await asyncio.sleep(0.01)


async def test_a_layer_that_is_silent_is_not_waited_for(
    settings: Any, configure: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A layer that silently drops every bell costs one long wait; then the log is polled."""

    class Silent(InMemoryChannelLayer):
        async def group_send(self, group: str, message: dict[str, Any]) -> None:
            """Drops it."""

    # It claims to cross processes.
    monkeypatch.setattr(polling, "InMemoryChannelLayer", type(None))
    monkeypatch.setattr("tests.feed.test_hub.Silent", Silent, raising=False)
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "tests.feed.test_hub.Silent"}}
    monkeypatch.setattr(polling, "SAFETY_FACTOR", 10)
    configure(FEED_POLL_SECONDS=0.1)
    stream = await sync_to_async(make_stream)()
    async with crowd(stream, 1) as followers:
        await all_reach_start(followers)
        await joined(followers[0].hub)
        await commit_and_ring(stream, {("message", "a"): message("x")})
        await all_reach(followers, 1, await sync_to_async(shown)(stream))
        assert not followers[0].hub.rings
        began = time.monotonic()
        for number in range(2, 5):
            await commit_and_ring(stream, {("message", "a"): message(str(number))})
            await all_reach(followers, number, await sync_to_async(shown)(stream))
        assert time.monotonic() - began < 3 * 0.5


@either_layer
async def test_redis_that_hangs_holds_up_no_commit(
    backend: str,
    settings: Any,
    redis_url: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Ringing gives up after its time limit and then stays silent for a while."""
    monkeypatch.setattr(bell, "RING_SECONDS", 0.3)
    proxy = Proxy("127.0.0.1", 1)
    proxy.hangs = True
    await proxy.start()
    redis_layer(settings, f"redis://127.0.0.1:{proxy.port}", backend=backend)
    stream = await sync_to_async(make_stream)()
    began = time.monotonic()
    for _ in range(5):
        await commit_and_ring(stream, {})
    assert time.monotonic() - began < 2
    assert caplog.text.count("did not accept the bell") == 1
    await proxy.cut()


async def test_the_log_cannot_be_read_for_a_while(
    configure: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    """A database error ends nothing: the hub keeps polling."""

    def rename(old: str, new: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE {old} RENAME TO {new}")

    configure(FEED_POLL_SECONDS=0.05)
    stream = await sync_to_async(make_stream)()
    async with crowd(stream, 2) as followers:
        await all_reach_start(followers)
        await sync_to_async(rename)("durable_state_feedentry", "away")
        try:
            await Stream.objects.filter(pk=stream.pk).aupdate(revision=1)
            await asyncio.sleep(0.3)
        finally:
            # First, or the hub may believe in a commit that never happened.
            await Stream.objects.filter(pk=stream.pk).aupdate(revision=0)
            await sync_to_async(rename)("away", "durable_state_feedentry")
        await sync_to_async(commit)(stream, {("message", "a"): message("x")})
        await all_reach(followers, 1, await sync_to_async(shown)(stream))
    assert "could not be read" in caplog.text


async def all_reach_start(followers: list[Follower]) -> None:
    await asyncio.gather(
        *(each.until(lambda client: client.offset.endswith(".0")) for each in followers)
    )


async def test_frames_are_encoded_once(
    monkeypatch: pytest.MonkeyPatch, configure: Callable[..., None]
) -> None:
    """Forty subscribers of one audience share each commit's frame and each page of a snapshot."""
    made: list[str] = []
    for maker, name in ((Rendering, "frames"), (Group, "_read_page")):
        original = getattr(maker, name)

        def noting(self: Any, *args: Any, name: str = name, original: Any = original) -> Any:
            made.append(name)
            return original(self, *args)

        monkeypatch.setattr(maker, name, noting)
    configure(FEED_POLL_SECONDS=1000)
    monkeypatch.setattr("durable_state.feed.group.SHARED_SECONDS", 1000.0)
    stream = await sync_to_async(make_stream)()
    await commit_and_ring(stream, {("message", "a"): message("x")})
    async with crowd(stream, 40) as followers:
        await all_reach(followers, 1, await sync_to_async(shown)(stream))
        assert made == ["_read_page", "_read_page"]
        await commit_and_ring(stream, {("message", "b"): message("x")})
        await all_reach(followers, 2, await sync_to_async(shown)(stream))
        assert made == ["_read_page", "_read_page", "frames"]


async def test_the_last_one_ends_the_tasks() -> None:
    """Nothing listens when nobody is subscribed, and a new subscriber starts afresh."""
    stream = await sync_to_async(make_stream)()
    before = asyncio.all_tasks()
    async with crowd(stream, 2) as followers:
        await all_reach_start(followers)
        assert followers[0].hub is followers[1].hub
        assert len(asyncio.all_tasks() - before) == 3
    assert asyncio.all_tasks() == before
    async with crowd(stream, 1) as again:
        await all_reach_start(again)


async def test_too_many_subscribers(configure: Callable[..., None]) -> None:
    """The limit applies per stream, and a place that was left can be taken."""
    configure(FEED_SUBSCRIBERS=2)
    stream = await sync_to_async(make_stream)()
    other = await sync_to_async(make_stream)("other")
    async with subscribe(stream), subscribe(other):
        async with subscribe(stream):
            with pytest.raises(TooManySubscribers):
                async with subscribe(stream):
                    pytest.fail("A third one got in.")
        async with subscribe(stream):
            pass


async def test_nobody_takes_all_places(configure: Callable[..., None]) -> None:
    """One follower gets half of what the others leave; everybody else still gets in."""
    configure(FEED_SUBSCRIBERS=10)
    stream = await sync_to_async(make_stream)()

    async def fill(follower: str, places: contextlib.AsyncExitStack) -> int:
        taken = 0
        with contextlib.suppress(TooManySubscribers):
            while True:
                await places.enter_async_context(subscribe(stream, follower))
                taken += 1
        return taken

    async with contextlib.AsyncExitStack() as greedy, contextlib.AsyncExitStack() as others:
        assert await fill("user 1", greedy) == 5
        assert await fill("user 2", others) == 2
        assert [await fill(f"user {number}", others) for number in (3, 4, 5, 6)] == [1, 1, 1, 0]
        await greedy.aclose()
        assert await fill("user 6", others) == 2


async def test_a_removed_stream_ends_its_subscribers(configure: Callable[..., None]) -> None:
    """Everyone who follows a stream that is removed is told."""
    configure(FEED_POLL_SECONDS=0.05)
    stream = await sync_to_async(make_stream)()
    async with crowd(stream, 2) as followers:
        await all_reach_start(followers)
        await Stream.objects.filter(pk=stream.pk).adelete()
        for each in followers:
            with pytest.raises(StreamRemoved):
                await each.until(lambda client: False)


async def test_the_bell_of_the_last_commit_tells_of_the_end(configure: Callable[..., None]) -> None:
    """So that clients that wait for more do not have to wait for the next check."""
    configure(FEED_POLL_SECONDS=1000)
    stream = await sync_to_async(make_stream)()
    async with crowd(stream, 1) as (follower,):
        await all_reach_start([follower])
        await joined(follower.hub)
        await commit_and_ring(stream, {("setting", "s"): 1}, status=Status.CLOSED)
        await all_reach([follower], 1, await sync_to_async(shown)(stream))
        await asyncio.wait_for(follower.hub.wait(1, 1000, closed=False), 10)
        assert follower.hub.closed


async def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many commits pass a subscriber that does not read, the hub keeps only its share."""
    monkeypatch.setattr(log_end, "KEPT_ENTRIES", 10)
    stream = await sync_to_async(make_stream)()
    async with crowd(stream, 1) as (follower,):
        await all_reach_start([follower])
        for n in range(50):
            await commit_and_ring(stream, {("setting", "s"): "x" * 3000 + str(n)})
            await asyncio.sleep(0)
        await asyncio.wait_for(wait_for_revision(follower.hub, 50), 5)
        assert len(follower.hub._entries) == 10
        await all_reach([follower], 50, await sync_to_async(shown)(stream))


async def wait_for_revision(hub: Hub, revision: int) -> None:
    while hub.revision < revision:
        await hub.wait(hub.revision, 5)
