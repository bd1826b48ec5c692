"""A call that begins outside of a task continues in one as if it had always been there."""

from __future__ import annotations

import asyncio

import pytest

from durable_state.feed.sending import begin


async def test_what_ends_at_once_is_done() -> None:
    """Nothing is left of it, and its errors are raised there."""

    async def send(number: int) -> float:
        return 1 / number

    assert begin(send(1)) is None
    with pytest.raises(ZeroDivisionError):
        begin(send(0))


async def test_what_waits_goes_on() -> None:
    """Through several waits, bare ones too, until its end."""
    first, second = asyncio.Event(), asyncio.Event()
    steps: list[int] = []

    async def send() -> None:
        await first.wait()
        steps.append(1)
        await asyncio.sleep(0)
        await second.wait()
        steps.append(2)

    rest = begin(send())
    assert rest is not None
    task = asyncio.ensure_future(rest)
    first.set()
    await asyncio.sleep(0.01)
    assert (steps, task.done()) == ([1], False)
    second.set()
    await task
    assert steps == [1, 2]


async def test_errors_and_cancellation_reach_it() -> None:
    """Where it stands, so that it can clean up."""
    seen: list[str] = []

    async def send(future: asyncio.Future[None]) -> None:
        try:
            await future
        except BaseException as error:
            seen.append(type(error).__name__)
            raise

    loop = asyncio.get_running_loop()
    broken, never = loop.create_future(), loop.create_future()
    rests = [begin(send(broken)), begin(send(never))]
    tasks = [asyncio.ensure_future(rest) for rest in rests if rest is not None]
    broken.set_exception(OSError("gone"))
    await asyncio.sleep(0.01)
    tasks[1].cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [OSError, asyncio.CancelledError]
    assert seen == ["OSError", "CancelledError"]
