"""Ends tasks, even stubborn ones."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

__all__ = ["end_tasks"]


async def end_tasks(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancels the tasks, and returns when they have ended."""
    every = list(tasks)
    pending = set(every)
    while pending:
        # More than once: a layer whose connection breaks just then may swallow a cancellation.
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=1)
    await asyncio.gather(*every, return_exceptions=True)
