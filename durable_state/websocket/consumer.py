"""One websocket of one stream."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
from typing import Any
from urllib.parse import parse_qs

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from django.contrib.auth.models import AnonymousUser
from django.db import models

from durable_state.feed import (
    AccessWithdrawn,
    Audience,
    StreamRemoved,
    Subscriber,
    TooManySubscribers,
    subscribe,
)
from durable_state.models import Stream
from durable_state.policy import audience_of, readable_streams

from .origin import is_own_origin

__all__ = ["NOT_ALLOWED", "NOT_SIGNED_IN", "NO_SUCH_STREAM", "TOO_MANY", "StateConsumer"]

logger = logging.getLogger("durable_state.websocket")

NOT_SIGNED_IN = 4401
NOT_ALLOWED = 4403
NO_SUCH_STREAM = 4404
TOO_MANY = 4429
BAD_QUERY = 1008
"""RFC 6455, 7.4.1: the query has more than 200 fields, or a field is no text."""
FAILED = 1011
"""RFC 6455, 7.4.1: the server met an error, which is in its log."""


class StateConsumer(AsyncWebsocketConsumer):
    """Sends the frames of one stream: a snapshot, then live; or from ``?offset=`` on.

    ``?type=`` (repeated) picks entity types.

    A type that the stream does not have, or the user may not see, has no rows here and is no error:
    it may be registered later. What the client sends is ignored. A socket that is refused is
    accepted first and then closed, because browsers are shown the close code of an accepted one
    only; just a page of a foreign origin is refused in the handshake.
    """

    # No channel of its own: the hub holds one for all sockets of a stream, and a channel layer that
    # is down must not close them.
    channel_layer_alias = "durable_state.none"

    _sending: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        """Accepts the socket and starts to send."""
        if not is_own_origin(self.scope.get("headers", [])):
            await self.close(NOT_ALLOWED)
            return
        await self.accept()
        self._sending = asyncio.create_task(self._send_all())

    async def disconnect(self, code: int) -> None:
        """Stops sending."""
        if self._sending is not None:
            self._sending.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._sending

    async def _send_all(self) -> None:
        name = self.scope["url_route"]["kwargs"]["stream"]
        try:
            code = await self._follow(name)
        except asyncio.CancelledError:
            raise
        except StreamRemoved:
            code = NO_SUCH_STREAM
        except TooManySubscribers as error:
            logger.warning("%s", error)
            code = TOO_MANY
        except AccessWithdrawn:
            code = NOT_ALLOWED
        except Exception:
            logger.exception(
                "%s: a websocket is closed because its frames could not be made.", name
            )
            code = FAILED
        # The client may be gone already, which the server tells in its own way.
        with contextlib.suppress(Exception):
            await self.close(code)

    async def _follow(self, name: str) -> int:
        """Sends frames until something ends it; returns the close code."""
        try:
            query = parse_qs(self.scope.get("query_string", b"").decode(), max_num_fields=200)
        except ValueError:
            return BAD_QUERY
        user = self.scope.get("user") or AnonymousUser()
        stream = await database_sync_to_async(_readable_stream)(user, name)
        if stream is None:
            return await database_sync_to_async(_why_not)(user, name)
        types = frozenset(query.get("type", ()))

        async def renew() -> Audience | None:
            return await database_sync_to_async(_renewed)(user, stream, types)

        async with subscribe(stream, _follower(user, self.scope.get("client"))) as hub:
            audience = await database_sync_to_async(audience_of)(user, stream, types)
            frames = Subscriber(hub, audience, renew, query.get("offset", [""])[-1]).frames()
            async with contextlib.aclosing(frames):
                async for text in frames:
                    await self.send(text_data=text)
        return FAILED


def _follower(user: Any, client: Any) -> str:
    """Who shares places: a user, or an address where nobody is signed in."""
    if user.is_authenticated:
        return f"user {user.pk}"
    address = client[0] if client else ""
    if ":" in address:  # Whoever has an IPv6 address has many: they differ in the last 64 bits.
        with contextlib.suppress(ValueError):
            address = str(ipaddress.ip_network((address.partition("%")[0], 64), strict=False))
    return f"address {address}" if address else "somebody"


def _readable_stream(user: Any, name: str) -> Stream | None:
    return readable_streams(user).filter(name=name).first()


def _why_not(user: Any, name: str) -> int:
    """The close code for a stream that cannot be read.

    Who is not signed in does not learn whether it exists.
    """
    if not user.is_authenticated:
        return NOT_SIGNED_IN
    return NOT_ALLOWED if Stream.objects.filter(name=name).exists() else NO_SUCH_STREAM


def _renewed(user: Any, stream: Stream, types: frozenset[str]) -> Audience | None:
    """The audience as of now.

    A user from the database is read again, because it keeps its permissions once they were asked
    for.
    """
    if isinstance(user, models.Model):
        # Not `type(user)`: Channels wraps the user in a lazy object.
        user = user.__class__._default_manager.filter(pk=user.pk).first() or AnonymousUser()
    if _readable_stream(user, stream.name) is None:
        return None
    return audience_of(user, stream, types)
