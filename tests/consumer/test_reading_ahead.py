"""The batch that is read while another is committed, and how large batches become."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest
from django.test import override_settings

from durable_state.consumer.reading_ahead import ENOUGH, FIRST, Inbox, Pace
from durable_state.errors import Unavailable
from durable_state.protocol import Message, Position, decode, encode_change
from durable_state.transport import Batch, BatchLimits

MESSAGES: list[Message] = [
    decode(encode_change("user", str(number), "insert", {})) for number in range(200)
]


def batches(*sizes: int, tails: frozenset[int] = frozenset()) -> list[Batch]:
    """One stream as batches of so many messages; those numbered in ``tails`` reach its tail."""
    found, ordinal = [], 0
    for number, size in enumerate(sizes):
        messages = MESSAGES[ordinal : ordinal + size]
        ordinal += size
        position = Position(f"offset-{number}", 0, ordinal)
        found.append(
            Batch(
                messages, position, number in tails, False, None, sum(len(m.raw) for m in messages)
            )
        )
    return found


class Source:
    """Yields batches as fast as they are taken, and counts them."""

    def __init__(self, given: list[Batch], error: Exception | None = None) -> None:
        self.given, self.error, self.count, self.closed = given, error, 0, False

    async def read(self) -> AsyncGenerator[Batch, None]:
        """Yields the batches, then raises the error."""
        try:
            for batch in self.given:
                self.count += 1
                yield batch
            if self.error is not None:
                raise self.error
        finally:
            self.closed = True


async def settle() -> None:
    """Lets everything run that can."""
    for _ in range(50):
        await asyncio.sleep(0)


async def drain(source: Source, limits: BatchLimits) -> list[Batch]:
    """Everything that comes out when a commit takes long enough for reading to get as far as it
    may.
    """
    inbox, found = Inbox(limits), []
    reading = asyncio.create_task(inbox.fill(source.read()))
    await settle()
    while (batch := await inbox.take()) is not None:
        found.append(batch)
        await settle()
    await reading
    return found


def test_what_comes_during_a_commit_is_one_batch_within_the_limits() -> None:
    """In order, nothing twice, each with the position after it."""
    given = batches(5, 5, 5, 40, 29, 1, 1, 1, 60)
    found = asyncio.run(drain(Source(given), BatchLimits(60, 1_000_000)))
    assert [message for batch in found for message in batch.messages] == MESSAGES[:147]
    assert [len(batch.messages) for batch in found] == [55, 30, 2, 60]
    assert [batch.position.ordinal for batch in found] == [55, 85, 87, 147]
    assert [batch.bytes for batch in found] == [
        sum(len(m.raw) for m in batch.messages) for batch in found
    ]


def test_bytes_limit_too() -> None:
    """A batch grows to at most BATCH_BYTES."""
    given = batches(*[10] * 10)
    size = given[0].bytes
    found = asyncio.run(drain(Source(given), BatchLimits(1_000_000, 3 * size)))
    assert all(batch.bytes <= 3 * size + 10 for batch in found)
    assert len(found) > 3


def test_reading_waits_for_a_commit() -> None:
    """However slow commits are, at most one full batch is held besides the current one."""

    async def run() -> None:
        source = Source(batches(*[50] * 4))
        inbox = Inbox(BatchLimits(50, 1_000_000))
        reading = asyncio.create_task(inbox.fill(source.read()))
        await settle()
        assert source.count == 1
        await inbox.take()
        await settle()
        assert source.count == 2
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        assert source.closed

    asyncio.run(run())


def test_the_tail_is_not_forgotten() -> None:
    """What follows the tail is not part of the batch that reached it, unless it reaches the tail
    again.
    """
    given = batches(1, 1, 1, 1, 1, tails=frozenset({1, 2}))
    found = asyncio.run(drain(Source(given), BatchLimits(100, 1_000_000)))
    assert [(len(batch.messages), batch.up_to_date) for batch in found] == [(3, True), (2, False)]


def test_an_error_comes_after_what_was_read_before_it() -> None:
    """Nothing that arrived is lost, and whoever waits gets the error."""

    async def run() -> None:
        inbox = Inbox(BatchLimits(100, 1_000_000))
        source = Source(batches(3), Unavailable("gone", "wait"))
        await inbox.fill(source.read())
        assert (await inbox.take()) == source.given[0]
        with pytest.raises(Unavailable):
            await inbox.take()

    asyncio.run(run())


def test_nothing_is_taken_once_it_is_closed() -> None:
    """Neither what waits, nor what somebody waits for."""

    async def run() -> None:
        waiting, waited_for = Inbox(BatchLimits(100, 1_000_000)), Inbox(BatchLimits(100, 1_000_000))
        await waiting.fill(Source(batches(3)).read())
        await waiting.close()
        assert await waiting.take() is None

        taking = asyncio.create_task(waited_for.take())
        await settle()
        await waited_for.close()
        assert await taking is None

    asyncio.run(run())


def test_batches_grow_while_commits_are_quick_and_shrink_when_they_are_not() -> None:
    """About a second each, between one message and BATCH_ROWS."""
    with override_settings(DURABLE_STATE={"BATCH_ROWS": 20_000}):
        pace = Pace()
        assert pace.limits.rows == FIRST
        pace.took(FIRST, 0.1)
        assert pace.limits.rows == 4 * FIRST
        pace.took(10, 0.001)  # live: says nothing about a full batch
        assert pace.limits.rows == 4 * FIRST
        pace.took(4 * FIRST, 0.1)
        assert pace.limits.rows == 20_000
        pace.took(20_000, 4.0)
        assert pace.limits.rows == 5000
        for _ in range(9):
            pace.failed()
        assert pace.limits.rows == 1
        pace.took(1, 5.0)
        assert pace.limits.rows == 1
        pace.took(1, 0.01)
        assert pace.limits.rows == 4


def test_batches_stay_worth_a_commit_where_each_commit_is_slow() -> None:
    """Smaller batches do not help a database that takes its time for each commit; and live
    batches say nothing about full ones.
    """
    pace = Pace()
    for _ in range(50):
        pace.took(pace.limits.rows, 1.5)
    assert pace.limits.rows == ENOUGH
    pace.took(3, 2.0)
    assert pace.limits.rows == ENOUGH


def test_a_short_lease_makes_short_commits() -> None:
    """They have to end before its timeouts, which are half of it."""
    with override_settings(DURABLE_STATE={"LEASE_SECONDS": 2.0}):
        pace = Pace()
        pace.took(FIRST, 0.8)
        assert pace.limits.rows == FIRST / 4
