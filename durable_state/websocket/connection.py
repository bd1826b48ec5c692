"""One websocket: who may open it, and what all kinds of websockets have in common."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

from channels.generic.websocket import AsyncWebsocketConsumer
from django.core.exceptions import PermissionDenied

from durable_state.feed import ClientGone

from . import heart
from .caller import Caller, identify
from .close_codes import FAILED, NOT_ALLOWED, NOT_SIGNED_IN, code_of
from .origin import is_own_origin
from .places import TooManyPlaces, leave_place, take_place
from .subscription import Subscription

__all__ = ["Connection"]

SUBPROTOCOL = "durable-state"


class Connection(AsyncWebsocketConsumer):
    """A socket that carries the frames of its subscriptions.

    A socket that is refused is accepted first and then closed, because browsers see the close code
    of an accepted socket only. Just a page of a foreign origin is refused in the handshake.
    """

    # No channel of its own: the feed has one for all sockets, and a channel layer that is down
    # must not close them.
    channel_layer_alias = "durable_state.none"

    caller: Caller

    def __init__(self) -> None:
        super().__init__()
        self.subscriptions: dict[str, Subscription] = {}
        self._sent_at = time.monotonic()
        self._sends = 0
        self._places = 0
        self._is_open = False
        self._opening: asyncio.Task[None] | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serves the socket; however that ends, nothing of it stays."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self.disconnect(FAILED)

    # For the heart

    @property
    def sent_at(self) -> float:
        """When it was last sent something, on the monotonic clock."""
        return self._sent_at

    @property
    def is_sending(self) -> bool:
        """Whether the client has yet to accept something."""
        return self._sends > 0 or any(each.is_sending for each in self.subscriptions.values())

    async def send_heartbeat(self) -> None:
        """Sends a frame without meaning, if the client is still there."""
        with contextlib.suppress(ClientGone):
            await self.send_text(self.heartbeat())

    # For subclasses

    def heartbeat(self) -> str:
        """The text of a frame without meaning."""
        raise NotImplementedError

    async def begin(self) -> None:
        """Starts sending."""
        raise NotImplementedError

    # From open to closed

    async def connect(self) -> None:
        """Accepts the socket, and opens it in a task."""
        if not is_own_origin(self.scope.get("headers", [])):
            await self.close(NOT_ALLOWED)
            return
        await self.accept(_chosen(list(self.scope.get("subprotocols", []))))
        self._opening = asyncio.create_task(self._open())

    async def opened(self) -> bool:
        """Waits until it is known who opened the socket; returns whether it is open."""
        if self._opening is not None:
            await asyncio.wait([self._opening])
        return self._is_open

    async def _open(self) -> None:
        try:
            self.caller = await identify(self.scope)
        except PermissionDenied:
            await self.end(NOT_SIGNED_IN)
            return
        except Exception as error:
            code = code_of(error, "a websocket", "it is closed: its user could not be determined.")
            await self.end(code)
            return

        try:
            self.take_place()
        except TooManyPlaces as error:
            await self.end(code_of(error, "a websocket"))
            return
        self._is_open = True
        heart.remember(self)
        with contextlib.suppress(ClientGone):
            await self.begin()

    def take_place(self) -> None:
        """Counts the socket, or one subscription of it. Raises: TooManyPlaces."""
        take_place(self.caller.follower)
        self._places += 1

    def leave_place(self) -> None:
        """Counts one socket or subscription less."""
        leave_place(self.caller.follower)
        self._places -= 1

    async def send_text(self, text: str) -> None:
        """Sends any other frame. Raises: ClientGone."""
        self._sends += 1
        try:
            await self.base_send({"type": "websocket.send", "bytes": None, "text": text})
        except Exception as error:  # Servers tell it in their own ways.
            raise ClientGone("The client has left.") from error
        finally:
            self._sends -= 1
        self._sent_at = time.monotonic()

    async def end(self, code: int) -> None:
        """Stops everything, and closes the socket. Raises nothing."""
        await self._stop()
        # The client may be gone already, which the server tells in its own way.
        with contextlib.suppress(Exception):
            await self.close(code)

    async def disconnect(self, code: int) -> None:
        """Stops everything."""
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.wait([self._opening])
        await self._stop()

    async def _stop(self) -> None:
        if self._is_open:
            self._is_open = False
            heart.forget(self)
        while self._places:
            self.leave_place()
        while self.subscriptions:
            _, subscription = self.subscriptions.popitem()
            await subscription.stop()


def _chosen(offered: list[str]) -> str | None:
    """The subprotocol to answer the handshake with.

    A browser that offered subprotocols closes the socket if none is chosen. By custom, a token
    comes second.
    """
    if SUBPROTOCOL in offered:
        return SUBPROTOCOL
    return offered[0] if offered else None
