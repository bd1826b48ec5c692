"""A websocket of as many streams as the client asks for."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Awaitable
from functools import partial
from typing import Any

from durable_state.conf import get_settings
from durable_state.feed import ClientGone
from durable_state.feed.frames import Frame

from .client_message import (
    MESSAGE_BYTES,
    BadMessage,
    Ping,
    Subscribe,
    Unsubscribe,
    decode,
)
from .close_codes import BAD_REQUEST, DONE, REASONS, TOO_LARGE, TOO_MANY, code_of
from .connection import Connection
from .heart import HEARTBEAT_SECONDS
from .places import TooManyPlaces
from .subscription import Subscription

__all__ = ["StreamsConsumer"]

MISTAKES = 20
"""Invalid frames after which the socket is closed."""


class StreamsConsumer(Connection):
    """Sends the frames of each stream that the client has subscribed to.

    Each carries the ``id`` of its subscription. Spec: docs/reference/live.md, "Many streams".
    """

    _mistakes = 0

    async def begin(self) -> None:
        """Tells the client how often it will hear something."""
        await self.send_heartbeat()

    def heartbeat(self) -> str:
        """The interval in which the client hears something."""
        return _encode({"heartbeat": HEARTBEAT_SECONDS})

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Does what the client asks for."""
        if await self.opened():
            # A client that has left needs no answer.
            with contextlib.suppress(ClientGone):
                await self._take(text_data, bytes_data)

    async def _take(self, text_data: str | None, bytes_data: bytes | None) -> None:
        if len(text_data or bytes_data or "") > MESSAGE_BYTES:
            await self.end(TOO_LARGE)
            return
        try:
            if text_data is None:
                raise BadMessage("Send text frames, not binary ones.")
            await self._obey(decode(text_data))
        except BadMessage as error:
            self._mistakes += 1
            told = {"error": str(error)[:500]}
            if error.subscription is not None and error.subscription not in self.subscriptions:
                told["id"] = error.subscription
            await self.send_text(_encode(told))
            if self._mistakes >= MISTAKES:
                await self.end(BAD_REQUEST)

    async def _obey(self, message: Subscribe | Unsubscribe | Ping) -> None:
        match message:
            case Subscribe():
                await self._subscribe(message)
            case Unsubscribe(unsubscribe=name):
                if name not in self.subscriptions:  # It may have ended just before.
                    await self._tell_closed(name, DONE)
                    return
                await self.subscriptions[name].stop()
                await self._ended(name, DONE)
            case Ping(ping=value):
                await self.send_text(_encode({"pong": value}))

    async def _subscribe(self, wanted: Subscribe) -> None:
        name = wanted.name
        if name in self.subscriptions:
            raise BadMessage(
                f"subscribe: {name!r} is subscribed already; give another id, or unsubscribe first."
            )
        if len(self.subscriptions) >= get_settings().feed_socket_subscriptions:
            await self._tell_closed(name, TOO_MANY)
            return
        try:
            self.take_place()
        except TooManyPlaces as error:
            await self._tell_closed(name, code_of(error, wanted.subscribe))
            return
        front = f'"id":{json.dumps(name)},'

        def send(frame: Frame) -> Awaitable[None]:
            self._sent_at = time.monotonic()
            message: Any = frame.message_with(front)
            return self.base_send(message)

        ended = partial(self._ended, name)
        self.subscriptions[name] = Subscription(self.caller, wanted, send, ended)

    async def _ended(self, name: str, code: int) -> None:
        if self.subscriptions.pop(name, None) is not None:
            self.leave_place()
            await self._tell_closed(name, code)

    async def _tell_closed(self, name: str, code: int) -> None:
        await self.send_text(_encode({"id": name, "closed": code, "reason": REASONS[code]}))


def _encode(frame: dict[str, Any]) -> str:
    return json.dumps(frame, separators=(",", ":"))
