"""A subscriber ends with the rows in the tables, however it came and whatever happened."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import pytest
from asgiref.sync import sync_to_async

from durable_state.feed import prune
from durable_state.models import FeedEntry, Stream

from .support.commits import commit, commit_and_ring, make_stream, message, shown
from .support.following import everything, follow
from .support.pages import set_page_rows

pytestmark = pytest.mark.django_db(transaction=True)
every_database = pytest.mark.django_db(transaction=True, databases="__all__")


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages of three rows, so that few rows make many."""
    set_page_rows(monkeypatch, 3)


@every_database
async def test_a_snapshot_then_live(database: str) -> None:
    """First the rows as inserts between two controls, then each commit as updates and deletes
    with its txid.
    """
    stream = await sync_to_async(make_stream)(using=database)
    await commit_and_ring(
        stream,
        {("message", "a"): message("one"), ("setting", "s"): None, ("setting", "t"): {"x": [1.5]}},
    )
    async with follow(stream) as follower:
        client = await follower.until_revision(1)
        items = [item for frame in client.frames for item in frame["items"]]
        assert [item["headers"] for item in items] == [
            {"control": "snapshot-start"},
            {"operation": "insert"},
            {"operation": "insert"},
            {"control": "snapshot-end"},
        ]
        assert {frame["offset"] for frame in client.frames[:-1]} == {"-1"}
        await commit_and_ring(
            stream, {("message", "a"): None, ("message", "b"): message("two")}, txids=["t1"]
        )
        await follower.until_revision(2)
        assert client.frames[-1]["items"] == [
            {"type": "message", "key": "a", "headers": {"operation": "delete", "txid": "t1"}},
            {
                "type": "message",
                "key": "b",
                "value": message("two"),
                "headers": {"operation": "update", "txid": "t1"},
            },
        ]
        await commit_and_ring(
            stream,
            {("message", "c"): message("x"), ("message", "d"): message("y")},
            txids=["t2", "t3"],
        )
        await follower.until_revision(3)
        assert [item["headers"] for item in client.frames[-1]["items"]] == [
            {"operation": "update", "txids": ["t2", "t3"]},
            {"operation": "update"},
        ]
    assert client.state == await sync_to_async(shown)(stream)


async def test_resuming_brings_just_what_was_missed() -> None:
    """With the last frame's offset a subscriber gets the commits since, and a frame at once if
    there are none.
    """
    stream = await sync_to_async(make_stream)()
    await commit_and_ring(stream, {("message", "a"): message("one")})
    async with follow(stream) as follower:
        client = await follower.until_revision(1)
    for n in range(5):
        await commit_and_ring(stream, {("message", str(n)): message("x")})
    async with follow(stream, client.offset, client=client) as follower:
        await follower.until_revision(6)
        assert client.snapshots == 1
    assert client.state == await sync_to_async(shown)(stream)
    async with follow(stream, client.offset, client=client) as follower:
        client.up_to_date = False
        await follower.until(lambda client: client.up_to_date, 2)
        assert client.frames[-1] == {"items": [], "offset": client.offset, "upToDate": True}


@pytest.mark.parametrize(
    "reason", ["pruned", "other filter", "re-added", "restored", "junk", "unfinished"]
)
async def test_an_offset_that_is_not_known_brings_a_snapshot(
    reason: str, configure: Callable[..., None]
) -> None:
    """Whatever is wrong with a token, the subscriber converges with a new snapshot."""
    stream = await sync_to_async(make_stream)()
    for n in range(4):
        await commit_and_ring(stream, {("message", str(n)): message("x"), ("setting", str(n)): n})
    async with follow(stream) as follower:
        client = await follower.until_revision(4)
    offset = client.offset
    if reason == "pruned":
        for n in range(2):
            await commit_and_ring(stream, {("message", str(n)): None})
        await FeedEntry.objects.filter(revision=5).adelete()
    elif reason == "other filter":
        async with follow(stream, audience=lambda: everything(stream, ["message"])) as follower:
            offset = (await follower.until_revision(4)).offset
        client.state.clear()
    elif reason == "re-added":
        await stream.adelete()
        stream.pk = None
        stream = await Stream.objects.acreate(name=stream.name, url=stream.url, pk=1, revision=4)
    elif reason == "restored":
        await Stream.objects.filter(pk=stream.pk).aupdate(revision=3)
        await FeedEntry.objects.filter(revision=4).adelete()
    else:
        offset = {"junk": "x.y.z", "unfinished": "-1"}[reason]
    client.snapshots = 0
    async with follow(stream, offset, client=client) as follower:
        await follower.until(lambda client: client.snapshots == 1 and client.offset != "-1")
    assert client.state == await sync_to_async(shown)(stream)


@every_database
async def test_commits_during_a_snapshot_are_not_lost(small_pages: None, database: str) -> None:
    """Commits between any two pages (before, at and after the cursor) are covered by the live
    changes.
    """
    stream = await sync_to_async(make_stream)(using=database)
    dice = random.Random(7)
    await commit_and_ring(stream, {("message", str(n)): message("old") for n in range(30)})
    async with follow(stream) as follower:
        revision = 1
        while follower.client.offset == "-1" or not follower.client.frames:
            follower.client.fold(await asyncio.wait_for(anext(follower.frames), 10))
            keys = dice.sample(range(40), 6)
            changes = {
                ("message", str(key)): dice.choice([None, message(f"new {revision}")])
                for key in keys
            }
            revision = await commit_and_ring(stream, changes)
        assert revision > 8
        client = await follower.until_revision(revision)
    assert client.state == await sync_to_async(shown)(stream)
    assert client.snapshots == 1


async def test_a_large_commit_comes_in_pieces_and_resumes(
    small_pages: None, configure: Callable[..., None]
) -> None:
    """Values that are not in the log are read when served; a subscriber that leaves in the
    middle of a commit misses nothing of it.
    """
    configure(FEED_VALUE_ROWS=2)
    stream = await sync_to_async(make_stream)()
    await commit_and_ring(stream, {})
    async with follow(stream) as follower:
        client = await follower.until_revision(1)
        await commit_and_ring(
            stream, {("message", str(n)): message(str(n)) for n in range(10)}, txids=["t"]
        )
        await follower.until(lambda client: len(client.state) == 6)
        assert not client.up_to_date
        assert client.offset.endswith(".1")
        await commit_and_ring(stream, {("message", "0"): None})
    async with follow(stream, client.offset, client=client) as follower:
        await follower.until_revision(3)
    assert client.snapshots == 1
    assert all(len(frame["items"]) <= 3 for frame in client.frames)
    assert client.state == await sync_to_async(shown)(stream)


async def test_a_switch_is_a_snapshot(small_pages: None) -> None:
    """An entry that says so makes every subscriber, live or resuming, take a snapshot."""
    stream = await sync_to_async(make_stream)()
    await commit_and_ring(stream, {("message", str(n)): message("x") for n in range(5)})
    async with follow(stream) as follower:
        client = await follower.until_revision(1)
        await commit_and_ring(stream, {("message", str(n)): None for n in range(4)}, snapshot=True)
        await follower.until_revision(2)
    assert client.snapshots == 2
    assert client.state == await sync_to_async(shown)(stream)


async def test_commits_of_other_types_only_move_the_token() -> None:
    """A filtered subscriber gets no item of other types, but a token that stays fresh."""
    stream = await sync_to_async(make_stream)()
    await commit_and_ring(stream, {("message", "a"): message("x"), ("setting", "a"): 1})
    async with follow(stream, audience=lambda: everything(stream, ["message"])) as follower:
        client = await follower.until_revision(1)
        await commit_and_ring(stream, {("setting", "a"): 2})
        await follower.until_revision(2)
    assert client.frames[-1]["items"] == []
    assert client.state == {("message", "a"): message("x")}


async def test_up_to_date_is_told_of_the_last_commit_only() -> None:
    """A frame is up to date if its commit reached the tail and no later commit is known."""
    stream = await sync_to_async(make_stream)()
    await commit_and_ring(stream, {("message", "a"): message("x")}, up_to_date=False)
    async with follow(stream) as follower:
        client = await follower.until(lambda client: client.offset.endswith(".1"))
        assert not client.up_to_date
        await commit_and_ring(stream, {}, up_to_date=True)
        await follower.until_revision(2)
    for n in range(3):
        await commit_and_ring(stream, {("message", str(n)): message("x")})
    seen = len(client.frames)
    async with follow(stream, client.offset, client=client) as follower:
        await follower.until_revision(5)
    assert [frame["upToDate"] for frame in client.frames[seen:]] == [False, False, True]


async def test_pruning_under_a_slow_subscriber(configure: Callable[..., None]) -> None:
    """One that falls behind the log's end gets a snapshot, not a silent gap."""
    configure(FEED_KEEP_SECONDS=1)
    stream = await sync_to_async(make_stream)()
    await commit_and_ring(stream, {})
    async with follow(stream) as follower:
        client = await follower.until_revision(1)
        for n in range(300):
            await sync_to_async(commit)(stream, {("message", str(n % 7)): message(str(n))})
        await FeedEntry.objects.aupdate(created_at=stream.created_at.replace(year=2020))
        assert await sync_to_async(prune)("default") == 301
        await follower.until_revision(301)
    assert client.snapshots == 2
    assert client.state == await sync_to_async(shown)(stream)


@every_database
async def test_large_values_come_in_many_frames(
    database: str, configure: Callable[..., None]
) -> None:
    """No frame is much larger than 256 KB, in snapshots and live, and only the last one of a
    commit advances the token.
    """
    configure(FEED_VALUE_ROWS=0)
    stream = await sync_to_async(make_stream)(using=database)
    large = {("setting", str(n)): str(n) * 100_000 for n in range(10, 17)}
    await commit_and_ring(stream, large)
    async with follow(stream) as follower:
        client = await follower.until_revision(1)
        assert client.state == large
        seen = len(client.frames)
        await commit_and_ring(stream, {name: value + "!" for name, value in large.items()})
        await follower.until_revision(2)
    assert client.state == await sync_to_async(shown)(stream)
    assert [len(frame["items"]) for frame in client.frames[seen:]] == [1] * 7
    assert [frame["offset"][-2:] for frame in client.frames[seen:]] == [".1"] * 6 + [".2"]
