"""The web process: the product's websocket, and two others that send the same texts.

``tutorial``: a consumer as in Channels' tutorial, with a group of the channel layer for each
stream. ``floor``: one subscription to Redis, and nothing but ASGI's ``send`` for each socket.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any, cast

from channels.generic.websocket import AsyncWebsocketConsumer
from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application
from django.urls import path

from bench.processes import allow_many_files

allow_many_files()
django_application = get_asgi_application()

from durable_state.routing import websocket_urlpatterns  # noqa: E402  # after the set-up

__all__ = ["application"]


class TutorialConsumer(AsyncWebsocketConsumer):
    """Joins the stream's group, and passes its messages on."""

    channel_layer_alias = "tutorial"

    async def connect(self) -> None:
        """Joins the group."""
        self.group = f"stream_{self.scope['url_route']['kwargs']['stream']}"
        await self.channel_layer.group_add(self.group, self.channel_name)
        await self.accept()

    async def disconnect(self, code: int) -> None:
        """Leaves the group."""
        await self.channel_layer.group_discard(self.group, self.channel_name)

    async def stream_change(self, event: dict[str, Any]) -> None:
        """Passes on one change."""
        await self.send(text_data=event["text"])


class Floor:
    """An ASGI application that only sends."""

    def __init__(self) -> None:
        self._sends: dict[Any, None] = {}
        self._listening: asyncio.Task[None] | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One socket."""
        await receive()
        await send({"type": "websocket.accept"})
        if self._listening is None:
            self._listening = asyncio.create_task(self._listen())
        self._sends[send] = None
        while (await receive())["type"] != "websocket.disconnect":
            pass
        del self._sends[send]

    async def _listen(self) -> None:
        import redis.asyncio

        listener = redis.asyncio.from_url(os.environ["BENCH_REDIS"]).pubsub()
        await listener.subscribe(os.environ["BENCH_FLOOR"])
        async for message in listener.listen():
            if message["type"] == "message":
                event = {"type": "websocket.send", "text": message["data"].decode()}
                for send in list(self._sends):
                    await send(event)


patterns: list[Any] = [
    *websocket_urlpatterns,
    path("tutorial/<stream>/", cast(Any, TutorialConsumer.as_asgi())),
    path("floor/<stream>/", cast(Any, Floor())),
]
application = ProtocolTypeRouter({"http": django_application, "websocket": URLRouter(patterns)})
