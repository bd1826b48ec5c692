"""A websocket of one stream."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any
from urllib.parse import parse_qs

from durable_state.feed.frames import FROM_START, Frame, encode_frame

from .client_message import Subscribe
from .close_codes import BAD_REQUEST
from .connection import Connection
from .subscription import Subscription

__all__ = ["StateConsumer"]


class StateConsumer(Connection):
    """Sends the frames of one stream: a snapshot, then live changes; or what follows ``?offset=``.

    ``?type=`` and ``?key=``, repeated, pick entity types and entities. A type that the stream does
    not have, or the user may not see, has no rows here and is no error: it may be registered later.
    What the client sends is ignored.
    """

    _last = encode_frame([], FROM_START, False)
    """The last frame, or the last heartbeat."""

    @property
    def sent_at(self) -> float:
        """When the last frame was made: it was sent soon after."""
        return max(super().sent_at, self._last.made_at)

    async def begin(self) -> None:
        """Follows the stream."""
        name = self.scope["url_route"]["kwargs"]["stream"]
        try:
            query = parse_qs(self.scope.get("query_string", b"").decode(), max_num_fields=200)
        except ValueError:
            await self.end(BAD_REQUEST)
            return
        wanted = Subscribe(
            subscribe=name,
            types=query.get("type", []),
            keys=query.get("key", []),
            offset=query.get("offset", [""])[-1],
        )
        self.subscriptions[""] = Subscription(self.caller, wanted, self._send_frame, self._ended)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Ignores what the client sends."""

    def heartbeat(self) -> str:
        """A frame without items, at the client's place."""
        self._last = encode_frame([], self._last.offset, self._last.up_to_date)
        return str(self._last)

    def _send_frame(self, frame: Frame) -> Awaitable[None]:
        # Kept short, since it runs for each commit and socket.
        self._last = frame
        message: Any = frame.message
        return self.base_send(message)

    async def _ended(self, code: int) -> None:
        self.subscriptions.clear()
        await self.end(code)
