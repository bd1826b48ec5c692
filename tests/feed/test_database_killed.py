"""A database whose connections are killed under its readers: a real PostgreSQL."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import OperationalError, connections

from durable_state.feed import Audience, bell, outage
from durable_state.models import Stream
from tests.servers.require import skip_or_fail
from tests.services import missing

from .support.commits import commit, commit_and_ring, make_stream, message, shown
from .support.following import Follower, everything, follow
from .support.narrowed import popular, seen

pytestmark = pytest.mark.django_db(transaction=True, databases=["postgres"])
# Not pg_stat_activity, which within a transaction stays as it was when first queried.
WAITING = "SELECT {} FROM pg_locks WHERE NOT granted AND relation = 'app_message'::regclass"


@pytest.fixture(autouse=True)
def _postgres() -> None:
    if "postgres" in missing:
        skip_or_fail(missing["postgres"])


class Keeper:
    """Somebody else's connection, which locks the messages and kills sessions that wait for
    them.
    """

    def __init__(self) -> None:
        self._connection: Any = connections["postgres"].copy("keeper")

    def lock(self) -> None:
        self._connection.set_autocommit(False)
        self._run("LOCK TABLE app_message IN ACCESS EXCLUSIVE MODE")

    def kill(self) -> set[int]:
        """Ends every session that waits; returns their processes."""
        return {pid for pid, _ in self._run(WAITING.format("pid, pg_terminate_backend(pid)"))}

    def unlock(self) -> None:
        self._connection.rollback()
        self._connection.set_autocommit(True)

    def close(self) -> None:
        self._connection.close()

    def _run(self, text: str) -> list[Any]:
        with self._connection.cursor() as cursor:
            cursor.execute(text)
            return list(cursor.fetchall()) if cursor.description else []


@contextlib.asynccontextmanager
async def killed_while_reading(times: int = 1) -> AsyncIterator[None]:
    """In the block, the messages are locked; after it, whoever reads them is killed so many
    times.
    """
    keeper = await sync_to_async(Keeper)()
    await sync_to_async(keeper.lock)()
    try:
        yield
        killed: set[int] = set()
        async with asyncio.timeout(15):
            while len(killed) < times:
                killed |= await sync_to_async(keeper.kill)()
                await asyncio.sleep(0.02)
    finally:
        await sync_to_async(keeper.unlock)()
        await sync_to_async(keeper.close)()


@pytest.fixture(params=[False, True], ids=["whole", "narrowed"])
def sight(request: pytest.FixtureRequest) -> tuple[Any, Any]:
    """The state that a subscriber has, and the one it should have."""
    return (popular, seen) if request.param else (everything, shown)


@pytest.fixture
def retries_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outage, "RETRY_SECONDS", 0.1)


def following(stream: Stream, see: Callable[[Stream], Audience]) -> Any:
    return follow(stream, audience=lambda: see(stream))


async def until_same(follower: Follower, hold: Callable[[Stream], Any], stream: Stream) -> None:
    expected = await sync_to_async(hold)(stream)
    await follower.until(lambda client: client.up_to_date and client.state == expected)


async def test_who_is_served_goes_on(
    sight: tuple[Any, Any], configure: Callable[..., None], retries_soon: None
) -> None:
    """Rows that a commit's frames need are read again, and no socket is closed."""
    see, hold = sight
    configure(FEED_POLL_SECONDS=1000, FEED_VALUE_ROWS=0)
    stream = await sync_to_async(make_stream)(using="postgres")
    many = {("message", str(n)): message("x", 11) for n in range(5)}
    await commit_and_ring(stream, many)
    async with following(stream, see) as follower:
        await until_same(follower, hold, stream)
        changed = {name: message("y", int(name[1]) * 6) for name in many}
        revision, payload = await sync_to_async(commit)(stream, changed)
        async with killed_while_reading(2):
            await bell.ring(stream.name, stream.pk, revision, "postgres", payload)
        await until_same(follower, hold, stream)


async def test_who_comes_goes_on(
    sight: tuple[Any, Any], configure: Callable[..., None], retries_soon: None
) -> None:
    """A snapshot starts again."""
    see, hold = sight
    configure(FEED_POLL_SECONDS=1000)
    stream = await sync_to_async(make_stream)(using="postgres")
    await commit_and_ring(stream, {("message", str(n)): message("x", 11) for n in range(5)})
    expected = await sync_to_async(hold)(stream)
    async with following(stream, see) as follower:
        async with killed_while_reading():
            reading = asyncio.create_task(
                follower.until(lambda client: client.up_to_date and client.state == expected, 20)
            )
        await reading
        assert follower.client.snapshots == 2


async def test_an_outage_that_lasts_ends_them(
    configure: Callable[..., None], retries_soon: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the database's error, after GRACE_SECONDS."""
    monkeypatch.setattr(outage, "GRACE_SECONDS", 0.0)
    configure(FEED_POLL_SECONDS=1000, FEED_VALUE_ROWS=0)
    stream = await sync_to_async(make_stream)(using="postgres")
    await commit_and_ring(stream, {})
    async with following(stream, everything) as follower:
        await until_same(follower, shown, stream)
        revision, payload = await sync_to_async(commit)(stream, {("message", "a"): message("x")})
        async with killed_while_reading():
            await bell.ring(stream.name, stream.pk, revision, "postgres", payload)
        with pytest.raises(OperationalError):
            await until_same(follower, shown, stream)
