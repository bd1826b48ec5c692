"""One task for all sockets of an event loop: it sends heartbeats to quiet ones, and closes those of
people who are no longer signed in.

Why: decision 69.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import weakref
from collections.abc import Awaitable
from typing import Protocol

from durable_state.feed.outage import Answered
from durable_state.feed.sending import begin

from .caller import Caller, find_gone

__all__ = ["HEARTBEAT_SECONDS", "Beating", "forget", "remember"]

logger = logging.getLogger("durable_state.websocket")

HEARTBEAT_SECONDS = 20.0
"""Seconds within which every socket is sent something."""
LOOK_SECONDS = 5.0
"""Seconds between two checks of all sockets, and of the sessions of those who opened them."""


class Beating(Protocol):
    """A socket, as the heart knows it."""

    caller: Caller

    @property
    def sent_at(self) -> float:
        """When it was last sent something, on the monotonic clock."""
        ...

    @property
    def is_sending(self) -> bool:
        """Whether the client has yet to accept something."""
        ...

    def send_heartbeat(self) -> Awaitable[None]:
        """Sends a frame without meaning. Raises nothing."""
        ...

    def end(self, code: int) -> Awaitable[None]:
        """Closes it. Raises nothing."""
        ...


class _Heart:
    def __init__(self) -> None:
        self.sockets: set[Beating] = set()
        self._beating: asyncio.Task[None] | None = None
        self._looking: asyncio.Task[None] | None = None
        self._telling: set[asyncio.Future[None]] = set()
        self._answered = Answered()

    def start(self) -> None:
        """Starts beating, if it does not beat yet."""
        if self._beating is None:
            self._beating = asyncio.create_task(self._beat())

    def stop(self) -> None:
        """Ends its tasks."""
        for task in (self._beating, self._looking):
            if task is not None:
                task.cancel()
        self._beating = self._looking = None

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self._send_heartbeats()
            # A slow database, or none, must not hold up heartbeats.
            if self._looking is None or self._looking.done():
                self._looking = asyncio.create_task(self._look())

    def _send_heartbeats(self) -> None:
        quiet_since = time.monotonic() - (HEARTBEAT_SECONDS - LOOK_SECONDS)
        for socket in list(self.sockets):
            # A frame that is already on its way will arrive, or the connection is dead.
            if socket.sent_at <= quiet_since and not socket.is_sending:
                try:
                    rest = begin(socket.send_heartbeat())
                except Exception:  # It must not take the heartbeat from all other sockets.
                    logger.exception("A heartbeat could not be sent.")
                    continue
                if rest is not None:
                    self._tell(rest)

    async def _look(self) -> None:
        by_caller = {socket.caller: socket for socket in self.sockets}
        try:
            async with contextlib.aclosing(find_gone(by_caller.keys(), self._answered)) as gone:
                async for caller, code in gone:
                    self._tell(by_caller[caller].end(code))
        except Exception:
            logger.exception("Could not check the sessions of open websockets; trying again.")

    def _tell(self, telling: Awaitable[None]) -> None:
        """Finishes a send in a task of its own: a client that does not read delays nobody else."""
        task = asyncio.ensure_future(telling)
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)


_hearts: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Heart] = weakref.WeakKeyDictionary()


def remember(socket: Beating) -> None:
    """Starts looking after a socket."""
    heart = _hearts.setdefault(asyncio.get_running_loop(), _Heart())
    heart.sockets.add(socket)
    heart.start()


def forget(socket: Beating) -> None:
    """Stops looking after a socket."""
    heart = _hearts.get(asyncio.get_running_loop())
    if heart is not None and socket in heart.sockets:
        heart.sockets.discard(socket)
        if not heart.sockets:
            heart.stop()
