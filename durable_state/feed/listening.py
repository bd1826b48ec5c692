"""One channel of the channel layer for all streams that an event loop follows.

The channel joins the group of each stream, and each bell is passed on to the hubs of its stream. A
layer that is down is tried again and again; meanwhile the hubs know that they hear nothing.

Why: decisions 8, 44 and 76.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from channels.layers import get_channel_layer

from .bell import RING_SECONDS
from .ending import end_tasks

__all__ = ["Listener", "Listening"]

logger = logging.getLogger("durable_state.feed")

REJOIN_SECONDS = 600.0
"""Seconds after which the groups are joined again.

Memberships expire, and a flushed Redis forgets them.
"""
BACKOFF_SECONDS = 15.0
"""Seconds at most between two attempts to reach a channel layer that is down."""


class Listener(Protocol):
    """Somebody who wants to hear the bells of a group."""

    group: str
    """The channel layer's name for it."""

    def hear(self, bell: dict[str, Any]) -> None:
        """Takes a bell, without waiting for anything."""

    def begin_to_hear(self) -> None:
        """Called when the group was joined; earlier bells were missed."""

    def hear_nothing(self) -> None:
        """Called when no bell will be heard until the group is joined again."""


class Listening:
    """Hears the bells for all listeners of an event loop."""

    def __init__(self) -> None:
        self._listeners: dict[str, list[Listener]] = {}
        """By group."""
        self._channel: str | None = None
        self._due: dict[str, None] = {}
        """Groups to join, or to leave if they have no listener any more."""
        self._joined_at = 0.0
        self._receiving: asyncio.Task[None] | None = None
        self._settling: asyncio.Task[None] | None = None
        self._is_told = False
        """Whether the log already says that the layer is down."""

    def add(self, listener: Listener) -> None:
        """Adds a listener, which hears its bells once the group is joined."""
        self._listeners.setdefault(listener.group, []).append(listener)
        if self._receiving is None:
            self._receiving = asyncio.create_task(self._receive())
        self.join(listener.group)

    def remove(self, listener: Listener) -> None:
        """Removes a listener."""
        same = self._listeners[listener.group]
        same.remove(listener)
        if not same:
            del self._listeners[listener.group]
            self.join(listener.group)

    def join(self, group: str) -> None:
        """Joins the group, even if it was joined before; leaves it if it has no listeners."""
        self._due[group] = None
        if self._channel is not None and self._settling is None:
            self._settling = asyncio.create_task(self._settle(self._channel))

    async def stop(self) -> None:
        """Leaves all groups and stops."""
        tasks = [self._settling, self._receiving]
        self._settling = self._receiving = None
        await end_tasks(task for task in tasks if task is not None)

    async def _receive(self) -> None:
        failures = 0
        while (layer := get_channel_layer()) is not None:
            try:
                channel = await layer.new_channel()
                self._join_all(channel)
                while True:
                    bell = await layer.receive(channel)
                    failures, self._is_told = 0, False
                    self._pass_on(bell)
                    if time.monotonic() - self._joined_at > REJOIN_SECONDS:
                        self._join_all(channel)
            except Exception as error:
                failures += 1
                self._warn(error)
            finally:
                await self._lose_channel(layer)
            await asyncio.sleep(_backoff(failures))

    def _join_all(self, channel: str) -> None:
        self._channel, self._joined_at = channel, time.monotonic()
        for group in self._listeners:
            self.join(group)

    def _pass_on(self, bell: dict[str, Any]) -> None:
        for listener in self._listeners.get(str(bell.get("group")), ()):
            listener.hear(bell)

    async def _settle(self, channel: str) -> None:
        """Joins and leaves the groups that are due, one after the other.

        A group that fails is tried again after the others: a layer may keep its groups on several
        servers, of which one is down.
        """
        layer: Any = get_channel_layer()
        failures = 0
        while self._due:
            failed = False
            for group in list(self._due):
                is_wanted = group in self._listeners
                is_done = await self._try_once(
                    layer.group_add if is_wanted else layer.group_discard, group, channel
                )
                if channel != self._channel:
                    return  # A layer may swallow the cancellation by which this was to end.
                if not is_done:
                    failed = True
                    continue

                if is_wanted == (group in self._listeners):
                    self._due.pop(group, None)
                for listener in self._listeners.get(group, ()) if is_wanted else ():
                    listener.begin_to_hear()
            if failed:
                failures += 1
                await asyncio.sleep(_backoff(failures))
            else:
                failures = 0
        self._settling = None

    async def _try_once(
        self, change: Callable[[str, str], Awaitable[None]], group: str, channel: str
    ) -> bool:
        """Joins or leaves one group; whether the layer did it."""
        try:
            async with asyncio.timeout(RING_SECONDS):
                await change(group, channel)
        except Exception as error:
            self._warn(error)
            return False
        return True

    async def _lose_channel(self, layer: Any) -> None:
        """Gives up the channel, and leaves its groups as far as the layer answers."""
        channel, self._channel = self._channel, None
        settling, self._settling = self._settling, None
        if settling is not None:
            settling.cancel()
        for same in self._listeners.values():
            for listener in same:
                listener.hear_nothing()
        if channel is not None:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(RING_SECONDS):
                    for group in {*self._listeners, *self._due}:
                        await layer.group_discard(group, channel)
        self._due.clear()

    def _warn(self, error: Exception) -> None:
        if not self._is_told:
            self._is_told = True
            logger.warning("No channel layer, so the feed logs are polled instead: %r", error)


def _backoff(failures: int) -> float:
    return float(min(BACKOFF_SECONDS, 0.5 * 2 ** min(failures, 6)))
