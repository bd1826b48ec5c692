"""Nobody's slow call delays another's, and no call keeps a thread unseen for ever."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from django.db.backends.signals import connection_created

from durable_state.feed import CallTimedOut, run_for, run_once_for, threads


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """What slow calls wait for."""
    gate = threading.Event()
    yield gate
    gate.set()


async def test_slow_followers_delay_nobody_else(
    gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten users whose calls hang, more than there are places, do not delay others."""
    monkeypatch.setattr(threads, "SLOW_SECONDS", 0.05)
    slow = [asyncio.create_task(run_for(f"user {n}", gate.wait, 20)) for n in range(10)]
    async with asyncio.timeout(5):
        assert await asyncio.gather(*(run_for(f"quick {n}", int, n) for n in range(20))) == [
            *range(20)
        ]
    assert not any(task.done() for task in slow)
    gate.set()
    assert all(await asyncio.gather(*slow))


async def test_a_follower_has_one_call_at_a_time() -> None:
    """Its calls are made one after the other, in order."""
    running, most, seen = 0, 0, list[int]()

    def work(number: int) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        time.sleep(0.01)
        seen.append(number)
        running -= 1

    await asyncio.gather(*(run_for("user 1", work, number) for number in range(5)))
    assert (most, seen) == (1, [0, 1, 2, 3, 4])


async def test_threads_are_bounded(gate: threading.Event, monkeypatch: pytest.MonkeyPatch) -> None:
    """If more calls hang than there are threads, the others wait; all are made once those
    continue.
    """
    monkeypatch.setattr(threads, "SLOW_SECONDS", 0.01)
    monkeypatch.setattr(threads, "SPARE", 3)
    began = 0

    def hang() -> None:
        nonlocal began
        began += 1
        gate.wait(20)

    calls = [asyncio.create_task(run_for(f"user {n}", hang)) for n in range(20)]
    await asyncio.sleep(0.2)
    assert began == threads.PLACES + 3
    gate.set()
    await asyncio.gather(*calls)
    assert began == 20


async def test_a_call_that_hangs_is_named(
    gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever waits learns whose call hangs where; the next call of that follower is not made."""
    monkeypatch.setattr(threads, "CALL_SECONDS", 0.1)

    def rows() -> None:
        gate.wait(20)

    with pytest.raises(CallTimedOut, match=r"user 7: .*rows stands at .*test_threads.py:\d+ in"):
        await run_for("user 7", rows)
    with pytest.raises(CallTimedOut, match="was not called"):
        await run_for("user 7", rows)
    gate.set()
    assert await run_for("user 7", int, 1) == 1


async def test_nobody_fails_while_the_line_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Users who come at once wait for their turns, longer than any single call may take."""
    monkeypatch.setattr(threads, "CALL_SECONDS", 0.3)
    began = time.monotonic()
    await asyncio.gather(*(run_for(f"user {n}", time.sleep, 0.05) for n in range(60)))
    assert time.monotonic() - began > 0.6


@pytest.mark.django_db(transaction=True)
async def test_calls_in_a_row_share_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even if it may not outlive a request; it is closed once its thread is idle."""
    monkeypatch.setattr(threads, "LINGER_SECONDS", 1.0)
    opened = []

    def note(**_: Any) -> None:
        opened.append(threading.current_thread().name)

    def ask() -> bool:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        return connection.connection is not None

    connection_created.connect(note)
    try:
        for number in range(5):
            assert await run_for(f"user {number}", ask)
        assert opened == ["durable_state.feed"]

        await asyncio.sleep(2 * threads.LINGER_SECONDS)
        assert await run_for("user 1", ask)
        assert opened == ["durable_state.feed"] * 2
    finally:
        connection_created.disconnect(note)


async def test_who_leaves_takes_no_place_along(gate: threading.Event) -> None:
    """Calls that are cancelled, waiting or running, give their places back."""
    calls = [asyncio.create_task(run_for(f"user {n}", gate.wait, 20)) for n in range(8)]
    await asyncio.sleep(0.01)
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    gate.set()
    numbers = await asyncio.gather(*(run_for(f"user {n}", int, n) for n in range(8)))
    assert numbers == [*range(8)]


async def test_what_is_raised_arrives() -> None:
    """Including errors that a future cannot hold."""
    with pytest.raises(ZeroDivisionError):
        await run_for("user 1", lambda: 1 // 0)
    with pytest.raises(RuntimeError, match="StopIteration"):
        await run_for("user 1", next, iter(()))


async def test_one_call_answers_all_who_ask_before_it_begins(gate: threading.Event) -> None:
    """Later callers get an answer of their own, and one who leaves takes it from nobody."""
    calls: list[int] = []

    def answer() -> int:
        calls.append(len(calls))
        number = calls[-1]
        gate.wait(10)
        return number

    first = asyncio.create_task(run_once_for("key", "a", answer))
    async with asyncio.timeout(10):
        while not calls:  # noqa: ASYNC110  (a thread has no event here)
            await asyncio.sleep(0.01)
    others = [asyncio.create_task(run_once_for("key", "a", answer)) for _ in range(20)]
    await asyncio.sleep(0.05)
    others[0].cancel()
    gate.set()
    assert await first == 0
    assert await asyncio.gather(*others[1:]) == [1] * 19
    assert calls == [0, 1]
