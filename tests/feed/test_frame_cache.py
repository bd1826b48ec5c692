"""Shared frames are made once, and no more are kept than fit."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from durable_state.feed.frame_cache import FrameCache, SharedFrames
from durable_state.feed.frames import Frame


async def test_many_who_ask_share_one_making() -> None:
    """The frame is made once, even if the first one who asked has left."""
    cache, made = FrameCache(10_000), 0

    async def make() -> SharedFrames:
        nonlocal made
        made += 1
        await asyncio.sleep(0.01)
        return SharedFrames((Frame("te"), Frame("xt")))

    first = asyncio.create_task(cache.wait_for("a", make))
    others = [asyncio.create_task(cache.wait_for("a", make)) for _ in range(5)]
    await asyncio.sleep(0)
    first.cancel()
    assert [frames.texts for frames in await asyncio.gather(*others)] == [("te", "xt")] * 5
    assert (await cache.wait_for("a", make)).texts == ("te", "xt")
    assert made == 1
    with contextlib.suppress(asyncio.CancelledError):
        await first


async def test_a_failure_is_not_kept() -> None:
    """Everyone who waited gets the error; the next one who asks makes the frame again."""
    cache = FrameCache(10_000)

    async def fail() -> SharedFrames:
        raise ValueError("no")

    async def make() -> SharedFrames:
        return SharedFrames((Frame("te"), Frame("xt")))

    results = await asyncio.gather(
        cache.wait_for("a", fail), cache.wait_for("a", fail), return_exceptions=True
    )
    assert [type(result) for result in results] == [ValueError, ValueError]
    assert (await cache.wait_for("a", make)).texts == ("te", "xt")


@pytest.mark.parametrize(("size", "remade"), [(100_000, 0), (1500, 18), (5, 20)])
async def test_the_oldest_make_room(size: int, remade: int) -> None:
    """At most `size` bytes are kept; what does not fit is made again."""
    cache, made = FrameCache(size), 0

    async def make() -> SharedFrames:
        nonlocal made
        made += 1
        return SharedFrames((Frame("x" * 4), Frame("x" * 6)))

    for n in range(20):
        await cache.wait_for(n, make)
    made = 0
    for n in reversed(range(20)):
        await cache.wait_for(n, make)
    assert made == remade
