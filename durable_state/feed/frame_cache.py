"""Frames that many subscribers share."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, NamedTuple

__all__ = ["FrameCache", "SharedFrame"]


class SharedFrame(NamedTuple):
    """An encoded frame. ``blank``: it has no item; ``last``: the last row's primary key, in pages of a snapshot."""

    text: str
    blank: bool = False
    last: Any = None


class FrameCache:
    """Makes each frame once, however many ask for it at the same time, and keeps the newest ones up to ``size`` characters."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._kept: OrderedDict[Hashable, SharedFrame] = OrderedDict()
        self._held = 0
        self._making: dict[Hashable, asyncio.Task[SharedFrame]] = {}

    async def get(self, name: Hashable, make: Callable[[], Awaitable[SharedFrame]]) -> SharedFrame:
        """The frame of that name. Raises: what ``make`` raises; the next one who asks makes it again."""
        frame = self._kept.get(name)
        if frame is not None:
            return frame
        task = self._making.get(name)
        if task is None:
            task = self._making[name] = asyncio.create_task(self._make(name, make))
            task.add_done_callback(lambda done: self._made(name, done))
        # One subscriber that leaves must not take the frame away from the others.
        return await asyncio.shield(task)

    async def _make(self, name: Hashable, make: Callable[[], Awaitable[SharedFrame]]) -> SharedFrame:
        frame = await make()
        self._kept[name] = frame
        self._held += len(frame.text)
        while self._held > self._size and self._kept:
            _, dropped = self._kept.popitem(last=False)
            self._held -= len(dropped.text)
        return frame

    def _made(self, name: Hashable, task: asyncio.Task[SharedFrame]) -> None:
        self._making.pop(name, None)
        if not task.cancelled():
            task.exception()  # Seen, even when everyone who waited has left.
