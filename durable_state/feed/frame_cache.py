"""Frames that many subscribers share."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, NamedTuple

__all__ = ["FrameCache", "SharedFrames"]


class SharedFrames(NamedTuple):
    """Encoded frames, at least one.

    ``blank``: they have no item; ``last``: where the next page of a snapshot begins.
    """

    texts: tuple[str, ...]
    blank: bool = False
    last: Any = None

    @property
    def size(self) -> int:
        """Characters."""
        return sum(map(len, self.texts))


class FrameCache:
    """Makes frames once, however many ask for them at the same time.

    Keeps the newest ones, up to ``size`` characters.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._kept: OrderedDict[Hashable, SharedFrames] = OrderedDict()
        self._held = 0
        self._making: dict[Hashable, asyncio.Task[SharedFrames]] = {}

    def get(self, name: Hashable, make: Callable[[], SharedFrames]) -> SharedFrames:
        """The frames of that name, which ``make`` makes without waiting for anything."""
        frames = self._kept.get(name)
        if frames is None:
            frames = make()
            self._keep(name, frames)
        return frames

    async def wait_for(
        self, name: Hashable, make: Callable[[], Awaitable[SharedFrames]]
    ) -> SharedFrames:
        """The same of frames that take their time.

        Raises: what ``make`` raises; the next one who asks makes them again.
        """
        frames = self._kept.get(name)
        if frames is not None:
            return frames
        task = self._making.get(name)
        if task is None:
            task = self._making[name] = asyncio.create_task(self._make(name, make))
            task.add_done_callback(lambda done: self._made(name, done))
        # One subscriber that leaves must not take the frames away from the others.
        return await asyncio.shield(task)

    async def _make(
        self, name: Hashable, make: Callable[[], Awaitable[SharedFrames]]
    ) -> SharedFrames:
        frames = await make()
        self._keep(name, frames)
        return frames

    def _keep(self, name: Hashable, frames: SharedFrames) -> None:
        self._kept[name] = frames
        self._held += frames.size
        while self._held > self._size and self._kept:
            _, dropped = self._kept.popitem(last=False)
            self._held -= dropped.size

    def _made(self, name: Hashable, task: asyncio.Task[SharedFrames]) -> None:
        self._making.pop(name, None)
        if not task.cancelled():
            task.exception()  # Seen, even when everyone who waited has left.
