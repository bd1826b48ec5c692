"""Frames that many subscribers share."""

from __future__ import annotations

import asyncio
import sys
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, NamedTuple

from .frames import Frame

__all__ = ["FrameCache", "SharedFrames"]


BESIDE_BYTES = 500
"""Bytes that a kept one takes beside its texts."""


class SharedFrames(NamedTuple):
    """Encoded frames, at least one.

    ``blank``: they have no item; ``last``: where the next page of a snapshot begins.
    """

    texts: tuple[Frame, ...]
    blank: bool = False
    last: Any = None

    @property
    def size(self) -> int:
        """Bytes of memory, about."""
        return sum(map(sys.getsizeof, self.texts)) + BESIDE_BYTES


class FrameCache:
    """Makes frames once, however many ask for them at the same time.

    Keeps the newest ones, up to about ``size`` bytes.
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
            self.keep(name, frames)
        return frames

    def find(self, name: Hashable) -> SharedFrames | None:
        """The frames of that name, if they are still kept."""
        return self._kept.get(name)

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
        self.keep(name, frames)
        return frames

    def keep(self, name: Hashable, frames: SharedFrames) -> None:
        """Keeps frames, in the place of older ones."""
        former = self._kept.pop(name, None)
        if former is not None:
            self._held -= former.size
        self._kept[name] = frames
        self._held += frames.size
        while self._held > self._size and self._kept:
            _, dropped = self._kept.popitem(last=False)
            self._held -= dropped.size

    def _made(self, name: Hashable, task: asyncio.Task[SharedFrames]) -> None:
        self._making.pop(name, None)
        if not task.cancelled():
            task.exception()  # Seen, even when everyone who waited has left.
