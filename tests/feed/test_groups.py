"""Subscribers who see the same share what is made for them, and wait for nobody."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Hashable
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import OperationalError

from durable_state.feed import (
    AccessWithdrawn,
    Audience,
    Subscriber,
    group,
    outage,
    renewal,
    rows,
    subscribe,
)
from durable_state.feed.frame_cache import FrameCache
from durable_state.feed.frames import Frame
from durable_state.feed.group import Group
from durable_state.feed.hub import Hub
from durable_state.feed.rendering import Rendering
from durable_state.feed.sending import Rest
from durable_state.models import Stream
from tests.app.models import Message, Setting

from .support.client import Client
from .support.commits import commit, commit_and_ring, make_stream, message, shown
from .support.following import everything, follow
from .support.narrowed import popular, seen
from .support.pages import set_page_rows

pytestmark = pytest.mark.django_db(transaction=True)


async def begun() -> Stream:
    """A stream at revision 1, without rows."""
    stream = await sync_to_async(make_stream)()
    await commit_and_ring(stream, {})
    return stream


class Socket:
    """Takes frames, unless it is told to be slow."""

    def __init__(self) -> None:
        self.client = Client()
        self.takes = asyncio.Event()
        self.takes.set()
        self.waiting = 0
        self.most_waiting = 0
        self.ended: Exception | None = None
        self.changed = asyncio.Event()

    async def send(self, frame: Frame) -> None:
        self.waiting += 1
        self.most_waiting = max(self.most_waiting, self.waiting)
        self.changed.set()
        await self.takes.wait()
        self.waiting -= 1
        self.client.fold(frame)
        self.changed.set()

    def end(self, error: Exception) -> None:
        self.ended = error
        self.changed.set()

    async def until(self, done: Callable[[], bool], seconds: float = 10) -> None:
        async with asyncio.timeout(seconds):
            while not done():
                self.changed.clear()
                await self.changed.wait()

    async def until_revision(self, revision: int) -> None:
        await self.until(
            lambda: self.client.up_to_date and self.client.offset.endswith(f".{revision}")
        )

    async def until_state(self, state: object) -> None:
        await self.until(lambda: self.client.state == state)

    async def until_ended(self) -> None:
        await self.until(lambda: self.ended is not None)


@contextlib.asynccontextmanager
async def sockets(
    stream: Stream,
    count: int,
    see: Callable[[], Audience | None],
    *,
    name: Hashable = None,
    renewals: list[Hashable] | None = None,
) -> AsyncIterator[tuple[Hub, list[Socket]]]:
    """So many sockets, each with its own audience; ``name`` is the audience name of all.

    None of them may be given a frame before it has taken the last one.
    """

    def audience() -> Audience | None:
        found = see()
        if found is not None and name is not None:
            found.name = name
        return found

    renew = sync_to_async(audience)
    found = [Socket() for _ in range(count)]
    async with contextlib.AsyncExitStack() as stack:
        hub = await stack.enter_async_context(subscribe(stream))
        for number, each in enumerate(found):
            first = await renew()
            assert first is not None
            key = renewals[number] if renewals else None
            subscriber = Subscriber(hub, first, renew, renewal=key, follower=f"user {number}")
            stack.push_async_callback(subscriber.stop)
            subscriber.start(each.send, each.end)
        yield hub, found
    assert max((each.most_waiting for each in found), default=0) <= 1


async def test_a_slow_socket_holds_one_frame_and_delays_nobody(
    configure: Callable[..., None],
) -> None:
    """It has a task only until it has caught up."""
    configure(FEED_POLL_SECONDS=1000)
    stream = await begun()
    async with sockets(stream, 5, lambda: everything(stream)) as (_, (slow, *others)):
        await asyncio.gather(*(each.until_revision(1) for each in (slow, *others)))
        quiet = asyncio.all_tasks()
        slow.takes.clear()
        for revision in range(2, 31):
            await commit_and_ring(stream, {("message", "a"): message(str(revision))})
            await asyncio.gather(*(each.until_revision(revision) for each in others))
        assert slow.waiting == 1
        assert len(asyncio.all_tasks() - quiet) == 1
        slow.takes.set()
        await slow.until_revision(30)
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == quiet
        assert slow.client.state == await sync_to_async(shown)(stream)
        assert slow.client.snapshots == 1
        await commit_and_ring(stream, {("message", "b"): message("x")})
        await asyncio.gather(*(each.until_revision(31) for each in (slow, *others)))


async def test_a_small_commit_is_sent_as_its_bell_is_heard(
    configure: Callable[..., None],
) -> None:
    """No task, and no turn of the event loop, comes between the bell and the sockets."""
    configure(FEED_POLL_SECONDS=1000)
    stream = await begun()
    async with sockets(stream, 3, lambda: everything(stream)) as (hub, all_of_them):
        await asyncio.gather(*(each.until_revision(1) for each in all_of_them))
        revision, payload = await sync_to_async(commit)(stream, {("setting", "a"): 1})
        hub.hear({"entry": payload.decode(), "revision": revision})
        assert all(each.client.state == {("setting", "a"): 1} for each in all_of_them)
        assert all(each.client.offset.endswith(f".{revision}") for each in all_of_them)


async def test_idle_sockets_have_no_task(configure: Callable[..., None]) -> None:
    """However many they are, three tasks look after all of them."""
    configure(FEED_POLL_SECONDS=1000)
    stream = await begun()
    before = asyncio.all_tasks()
    async with sockets(stream, 40, lambda: everything(stream)) as (_, found):
        await asyncio.gather(*(each.until_revision(1) for each in found))
        await asyncio.sleep(0)
        assert len(asyncio.all_tasks() - before) == 3


@pytest.mark.parametrize("is_narrowed", [False, True])
async def test_one_that_is_far_behind_gets_a_snapshot(
    is_narrowed: bool, configure: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """If narrowed, when its steps are no longer kept; otherwise after a number of commits."""
    configure(FEED_POLL_SECONDS=1000)
    monkeypatch.setattr(group, "BEHIND_COMMITS", 5)
    stream = await begun()
    see = popular if is_narrowed else everything
    async with sockets(stream, 2, lambda: see(stream), name="team") as (hub, (slow, other)):
        await asyncio.gather(slow.until_revision(1), other.until_revision(1))
        slow.takes.clear()
        hub.shared = FrameCache(5_000)
        for revision in range(2, 11):
            row = message("x" * 1000, 100 if revision % 3 else 0)
            await commit_and_ring(stream, {("message", str(revision % 4)): row})
            await other.until_revision(revision)
        slow.takes.set()
        await slow.until_revision(10)
        assert (slow.client.snapshots, other.client.snapshots) == (2, 1)
        expected = await sync_to_async(seen if is_narrowed else shown)(stream)
        assert slow.client.state == other.client.state == expected


@pytest.mark.parametrize("name", ["team", None])
async def test_a_named_audience_shares_what_is_narrowed(
    name: str | None, configure: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each commit is rendered once for the whole group, and without a name once for each; either
    way, rows that leave are deleted, and hidden ones are never named.
    """
    made: list[int] = []
    render = Rendering.frames

    def noting(self: Rendering, entry: Any, *args: Any) -> Any:
        made.append(entry.revision)
        return render(self, entry, *args)

    monkeypatch.setattr(Rendering, "frames", noting)
    configure(FEED_POLL_SECONDS=1000)
    stream = await sync_to_async(make_stream)()
    await commit_and_ring(stream, {("message", "in"): message("x", 20)})
    async with sockets(stream, 6, lambda: popular(stream), name=name) as (_, found):
        await asyncio.gather(*(each.until_revision(1) for each in found))
        await commit_and_ring(
            stream, {("message", "in"): message("x", 5), ("message", "hidden"): message("x", 1)}
        )
        await asyncio.gather(*(each.until_revision(2) for each in found))
        await commit_and_ring(stream, {("message", "hidden"): None, ("setting", "s"): 1})
        await asyncio.gather(*(each.until_revision(3) for each in found))
        state = await sync_to_async(seen)(stream)
        assert all(each.client.state == state for each in found)
        assert not any(("message", "hidden") in each.client.mentioned for each in found)
    assert made == ([2, 3] if name else [2] * 6 + [3] * 6)


async def test_the_policy_is_asked_once_for_all_with_one_renewal(
    configure: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And its answer applies to all of them: here a wider view, then none."""
    monkeypatch.setattr(renewal, "RENEW_SECONDS", 0.05)
    configure(FEED_POLL_SECONDS=1000)
    stream = await sync_to_async(make_stream)()
    await commit_and_ring(stream, {("message", "a"): message("x"), ("setting", "s"): 1})
    types, asked = ["message"], 0

    def see() -> Audience | None:
        nonlocal asked
        asked += 1
        return everything(stream, types) if types else None

    keys: list[Hashable] = ["one"] * 10
    async with sockets(stream, 10, see, renewals=keys) as (_, found):
        await asyncio.gather(*(each.until_revision(1) for each in found))
        assert all(len(each.client.state) == 1 for each in found)
        types.append("setting")
        state = await sync_to_async(shown)(stream)
        await asyncio.gather(*(each.until_state(state) for each in found))
        before = asked
        types.clear()
        await asyncio.gather(*(each.until_ended() for each in found))
        assert asked - before <= 2
        assert all(isinstance(each.ended, AccessWithdrawn) for each in found)


async def test_a_policy_that_asks_otherwise_is_compared_at_once(
    configure: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows that another filter shows appear, and others go, long before the next comparison."""
    monkeypatch.setattr(renewal, "RENEW_SECONDS", 0.05)
    configure(FEED_POLL_SECONDS=1000)
    stream = await sync_to_async(make_stream)()
    await commit_and_ring(
        stream, {("message", "a"): message("x", 20), ("message", "b"): message("x", 5)}
    )
    least = 10

    def see() -> Audience:
        audience = popular(stream)
        sight = audience.sights["message"]
        rows = (Message.objects.filter(room="chat", likes__gt=least)).exclude(likes=20 + least)
        audience.sights["message"] = sight._replace(rows=rows, question=least)
        return audience

    async with sockets(stream, 2, see, name="team") as (_, found):
        await asyncio.gather(*(each.until_revision(1) for each in found))
        assert all(set(each.client.state) == {("message", "a")} for each in found)
        least = 0
        left = {("message", "b"): message("x", 5)}
        await asyncio.gather(*(each.until_state(left) for each in found))
        assert all(each.client.snapshots == 1 for each in found)


async def test_a_slow_answer_of_the_policy_delays_nobody_elses(
    configure: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one user's policy hangs, what was withdrawn from another is gone within the round."""
    monkeypatch.setattr(renewal, "RENEW_SECONDS", 0.05)
    monkeypatch.setattr(renewal, "PATIENCE_SECONDS", 0.05)
    configure(FEED_POLL_SECONDS=1000)
    stream = await begun()
    gate = asyncio.Event()
    audience = await sync_to_async(everything)(stream)

    async def hang() -> Audience | None:
        await gate.wait()
        return audience

    async def refuse() -> Audience | None:
        return None

    slow, refused = Socket(), Socket()
    async with subscribe(stream) as hub:
        for socket, renew in ((slow, hang), (refused, refuse)):
            Subscriber(hub, audience, renew, follower=str(id(socket))).start(
                socket.send, socket.end
            )
        await refused.until_ended()
        await commit_and_ring(stream, {("message", "a"): message("x")})
        await slow.until_revision(2)
        gate.set()
        for each in [member for found in hub.groups.values() for member in found.members]:
            await each.stop()


@pytest.mark.parametrize("grace", [60.0, 0.0])
async def test_an_outage_of_the_database_takes_nothing_away(
    grace: float, configure: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the policy cannot be asked, its last answer applies, but not for ever."""
    monkeypatch.setattr(renewal, "RENEW_SECONDS", 0.02)
    monkeypatch.setattr(outage, "GRACE_SECONDS", grace)
    configure(FEED_POLL_SECONDS=1000)
    stream = await begun()
    audience = await sync_to_async(everything)(stream)
    asked = 0

    async def renew() -> Audience | None:
        nonlocal asked
        asked += 1
        socket.changed.set()
        if asked < 4:
            raise OperationalError("the server is starting up")
        return audience

    socket = Socket()
    async with subscribe(stream) as hub:
        subscriber = Subscriber(hub, audience, renew)
        subscriber.start(socket.send, socket.end)
        if grace:
            await socket.until(lambda: asked > 5)
            assert socket.ended is None
            await commit_and_ring(stream, {("message", "a"): message("x")})
            await socket.until_revision(2)
        else:
            await socket.until_ended()
            assert isinstance(socket.ended, OperationalError)
        await subscriber.stop()


async def test_one_ahead_of_its_group_is_not_left_behind(
    configure: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A subscriber comes back with a later position than the group's, which the group cannot
    continue from its own: both reach the end.
    """
    configure(FEED_POLL_SECONDS=1000)
    stream = await begun()
    async with sockets(stream, 1, lambda: everything(stream)) as (hub, (first,)):
        await first.until_revision(1)
        audience = await sync_to_async(everything)(stream)
        refresh, groups = hub.refresh, list(hub.groups.values())
        # The group sleeps while commits pass by.
        monkeypatch.setattr(groups[0], "_is_behind", lambda: False)
        for number in range(2, 8):
            await commit_and_ring(stream, {("message", str(number)): message("x")})
        await refresh()
        back = Socket()
        subscriber = Subscriber(hub, audience, asyncio.sleep, audience.token(4))  # type: ignore[arg-type]
        subscriber.start(back.send, back.end)
        await until_ready(groups[0], 2)
        monkeypatch.undo()
        monkeypatch.setattr(group, "BEHIND_COMMITS", 5)
        configure(FEED_POLL_SECONDS=1000)
        groups[0].wake()
        await asyncio.gather(first.until_revision(7), back.until_revision(7))
        assert (first.client.snapshots, back.client.snapshots) == (2, 0)
        assert set(back.client.state) == {("message", str(number)) for number in (5, 6, 7)}
        await subscriber.stop()


async def until_ready(found: Group, count: int) -> None:
    """Waits until so many members are ready."""
    async with asyncio.timeout(5):
        while len(found._ready) < count:  # noqa: ASYNC110  (it has no event)
            await asyncio.sleep(0.01)


async def test_nobody_is_admitted_in_the_middle_of_a_commit(
    configure: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A subscriber that comes back between two parts of a commit gets the first part, too."""
    configure(FEED_POLL_SECONDS=1000, FEED_VALUE_ROWS=0)
    set_page_rows(monkeypatch, 2)
    stream = await begun()
    gate, original = asyncio.Event(), Group._part
    waiting = asyncio.Event()

    async def part(self: Group, entry: Any, start: int) -> Any:
        if start == 2 and not gate.is_set():
            waiting.set()
            await gate.wait()
        return await original(self, entry, start)

    monkeypatch.setattr(Group, "_part", part)
    async with sockets(stream, 1, lambda: everything(stream)) as (hub, (first,)):
        await first.until_revision(1)
        await commit_and_ring(stream, {("message", str(n)): message("x") for n in range(6)})
        async with asyncio.timeout(5):
            await waiting.wait()
        audience = await sync_to_async(everything)(stream)
        back = Socket()
        subscriber = Subscriber(hub, audience, asyncio.sleep, audience.token(1))  # type: ignore[arg-type]
        subscriber.start(back.send, back.end)
        await back.until(lambda: len(back.client.state) == 2)
        gate.set()
        await asyncio.gather(first.until_revision(2), back.until_revision(2))
        assert back.client.state == first.client.state == await sync_to_async(shown)(stream)
        await subscriber.stop()


async def test_a_slow_one_gets_each_part_of_a_commit_once(
    configure: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its group sends the next parts to the others while it still takes the first."""
    configure(FEED_POLL_SECONDS=1000, FEED_VALUE_ROWS=0)
    set_page_rows(monkeypatch, 2)
    stream = await begun()
    async with sockets(stream, 2, lambda: everything(stream)) as (_, (slow, other)):
        await asyncio.gather(slow.until_revision(1), other.until_revision(1))
        slow.takes.clear()
        await commit_and_ring(stream, {("message", str(n)): message("x") for n in range(6)})
        await other.until_revision(2)
        slow.takes.set()
        await slow.until_revision(2)
        assert slow.most_waiting == 1
        assert slow.client.state == other.client.state == await sync_to_async(shown)(stream)


async def test_who_comes_from_the_future_joins_nobody(configure: Callable[..., None]) -> None:
    """A token of a commit that a restored database does not have leads to a snapshot, beside
    others that are being sent to.
    """
    configure(FEED_POLL_SECONDS=1000)
    stream = await begun()
    async with sockets(stream, 1, lambda: everything(stream)) as (hub, (other,)):
        await other.until_revision(1)
        audience, late = everything(stream), Socket()

        async def renew() -> Audience:
            return audience

        subscriber = Subscriber(hub, audience, renew, audience.token(3))
        subscriber.start(late.send, late.end)
        try:
            await late.until_revision(1)
            await commit_and_ring(stream, {("setting", "s"): 2})
            await late.until_revision(2)
        finally:
            await subscriber.stop()
    assert late.client.state == other.client.state == {("setting", "s"): 2}


async def go_back(stream: Stream) -> None:
    """The database is restored to revision 1, without rows."""
    await stream.feed.filter(revision__gt=1).adelete()
    await Setting.objects.all().adelete()
    first = await stream.feed.aget()
    await Stream.objects.aupdate(revision=1, logged_at=first.created_at)


@pytest.mark.parametrize("is_seen", [True, False])
async def test_a_database_that_went_back_in_time_and_on(
    is_seen: bool, configure: Callable[..., None]
) -> None:
    """Nobody continues from a commit that only has the same number: neither a slow socket, nor
    one for which the number was already beyond the known end at the next check.
    """
    configure(FEED_POLL_SECONDS=1000)
    stream = await begun()
    async with sockets(stream, 2, lambda: everything(stream)) as (hub, (quick, slow)):
        await asyncio.gather(quick.until_revision(1), slow.until_revision(1))
        await commit_and_ring(stream, {("setting", "s"): "lost"})
        await asyncio.gather(quick.until_revision(2), slow.until_revision(2))
        slow.takes.clear()
        await commit_and_ring(stream, {("setting", "t"): "lost"})
        await quick.until_revision(3)
        await go_back(stream)
        if is_seen:
            await hub.refresh()
        await stream.arefresh_from_db()
        for number in range(4):
            await sync_to_async(commit)(stream, {("setting", f"new{number}"): number})
        await hub.refresh()
        await quick.until_revision(5)
        slow.takes.set()
        await slow.until_revision(5)
        assert slow.client.state == quick.client.state == await sync_to_async(shown)(stream)
        assert len(slow.client.state) == 4


async def test_a_narrowed_snapshot_is_enough_whatever_was_committed_meanwhile(
    configure: Callable[..., None],
) -> None:
    """Nothing is made while nobody takes it, so nothing that the snapshot needs is dropped.
    Otherwise, with many groups and a busy stream, one snapshot would follow the other for ever.
    """
    configure(FEED_POLL_SECONDS=1000)
    stream = await begun()
    async with sockets(stream, 1, lambda: popular(stream)) as (hub, (alone,)):
        alone.takes.clear()
        await alone.until(lambda: alone.waiting == 1)
        hub.shared = FrameCache(1)
        for number in range(3):
            await commit_and_ring(stream, {("message", f"m{number}"): message("x", 20)})
            await hub.refresh()
        alone.takes.set()
        await alone.until_revision(4)
        assert alone.client.snapshots == 1
        assert alone.client.state == await sync_to_async(seen)(stream)


@pytest.mark.parametrize("is_narrowed", [False, True])
async def test_pages_of_large_rows_are_short(
    is_narrowed: bool, configure: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many rows a page may have, it has at most PAGE_BYTES and one row."""
    configure(FEED_POLL_SECONDS=1000)
    monkeypatch.setattr(rows, "PAGE_BYTES", 50_000)
    stream = await sync_to_async(make_stream)()
    values: dict[tuple[str, str], Any] = {("setting", f"s{n:02}"): "x" * 20_000 for n in range(20)}
    values[("setting", "s10")] = "x" * 200_000
    await commit_and_ring(stream, values)
    pages: list[tuple[int, int]] = []
    read_page = Group._read_page

    def noting(self: Group, name: str, sight: Any, after: Any) -> Any:
        frames = read_page(self, name, sight, after)
        if name == "setting":
            pages.append((sum(map(len, frames.texts)), "".join(frames.texts).count("x" * 20_000)))
        return frames

    monkeypatch.setattr(Group, "_read_page", noting)
    see = popular if is_narrowed else everything
    async with sockets(stream, 1, lambda: see(stream)) as (_, (socket,)):
        await socket.until_revision(1)
        assert socket.client.state == await sync_to_async(seen if is_narrowed else shown)(stream)
    assert len(pages) >= 6
    assert all(size < 80_000 for size, _ in pages if size < 200_000)
    assert [size > 200_000 for size, _ in pages].count(True) == 1


async def test_who_leaves_while_others_are_sent_to_gets_nothing(
    configure: Callable[..., None],
) -> None:
    """Even at a position with the same number, in another group."""
    configure(FEED_POLL_SECONDS=1000)
    stream = await begun()
    got: list[str] = []

    class Leaving:
        def __init__(self, name: str) -> None:
            self.name = name
            self.place: int | None = 1
            self.group: Group | None = shared

        async def send(self, frame: Frame) -> None:
            got.append(self.name)
            shared.leave(members[1])

        def catch_up(self, begun: Rest | None = None, *, is_mid_commit: bool = False) -> None:
            """Is not slow."""

        def end(self, error: Exception) -> None:
            raise error

    async with subscribe(stream) as hub:
        await hub.refresh()
        shared = Group("all", hub, everything(stream))
        members = [Leaving("stays"), Leaving("leaves")]
        for each in members:
            shared.members.add(each)
            assert shared.admit(each)
        await commit_and_ring(stream, {("setting", "s"): 1})
        await hub.refresh()
        shared.wake()
        async with asyncio.timeout(10):
            while members[0].place != 2:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    assert got == ["stays"]


async def test_a_token_of_a_commit_that_a_restored_database_has_otherwise() -> None:
    """It gets a snapshot, be it of the newest commit or of an earlier one."""
    stream = await begun()
    await commit_and_ring(stream, {("setting", "s"): "lost"})
    async with follow(stream) as follower:
        client = await follower.until_revision(2)
    await commit_and_ring(stream, {("setting", "t"): "lost"})
    async with follow(stream, client.offset, client=client) as follower:
        await follower.until_revision(3)
    assert client.snapshots == 1
    lost = client.offset
    await go_back(stream)
    for newest in (3, 4):
        while (await Stream.objects.aget()).revision < newest:
            await commit_and_ring(stream, {("setting", f"new{newest}"): newest})
        client.up_to_date = False
        async with follow(stream, lost, client=client) as follower:
            await follower.until_revision(newest)
        assert client.snapshots == newest - 1
        assert client.state == await sync_to_async(shown)(stream)
