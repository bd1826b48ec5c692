"""One stream, followed for one socket."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable
from typing import Any

from channels.db import database_sync_to_async
from django.contrib.auth.models import AnonymousUser
from django.db import models

from durable_state.feed import Audience, Subscriber, subscribe
from durable_state.models import Stream
from durable_state.policy import audience_of, readable_streams

from .caller import Caller
from .client_message import Subscribe
from .close_codes import FAILED, NO_SUCH_STREAM, NOT_ALLOWED, NOT_SIGNED_IN, code_of

__all__ = ["Subscription"]

_NAME = re.compile(r"[A-Za-z0-9._-]{1,100}")


class Subscription:
    """Sends the frames of a stream to ``send``, until it is stopped or something ends it.

    Then ``ended`` is called with the close code, once.
    """

    def __init__(
        self,
        caller: Caller,
        wanted: Subscribe,
        send: Callable[[str], Awaitable[None]],
        ended: Callable[[int], Awaitable[None]],
    ) -> None:
        self._caller = caller
        self._wanted = wanted
        self._send = send
        self._ended = ended
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Sends nothing more; ``ended`` is not called."""
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def _run(self) -> None:
        try:
            code = await self._follow()
        except Exception as error:
            code = code_of(error, self._wanted.subscribe)
        await self._ended(code)

    async def _follow(self) -> int:
        user, wanted = self._caller.user, self._wanted
        stream = await database_sync_to_async(_readable_stream)(user, wanted.subscribe)
        if stream is None:
            return await database_sync_to_async(_why_not)(user, wanted.subscribe)

        async def renew() -> Audience | None:
            return await database_sync_to_async(_renewed)(user, stream, wanted)

        async with subscribe(stream, self._caller.follower) as hub:
            audience = await database_sync_to_async(audience_of)(
                user, stream, wanted.types, wanted.keys
            )
            frames = Subscriber(hub, audience, renew, wanted.offset).frames()
            async with contextlib.aclosing(frames):
                async for text in frames:
                    await self._send(text)
        return FAILED


def _readable_stream(user: Any, name: str) -> Stream | None:
    # A name that no stream can have may be one that a database refuses.
    if _NAME.fullmatch(name) is None:
        return None
    return readable_streams(user).filter(name=name).first()


def _why_not(user: Any, name: str) -> int:
    """The close code for a stream that cannot be read.

    Who is not signed in does not learn whether it exists.
    """
    if not user.is_authenticated:
        return NOT_SIGNED_IN
    exists = _NAME.fullmatch(name) is not None and Stream.objects.filter(name=name).exists()
    return NOT_ALLOWED if exists else NO_SUCH_STREAM


def _renewed(user: Any, stream: Stream, wanted: Subscribe) -> Audience | None:
    """The audience as of now.

    A user from the database is read again, because it keeps its permissions once they were asked
    for.
    """
    if isinstance(user, models.Model):
        # Not `type(user)`: Channels wraps the user in a lazy object.
        user = user.__class__._default_manager.filter(pk=user.pk).first() or AnonymousUser()
    if _readable_stream(user, stream.name) is None:
        return None
    return audience_of(user, stream, wanted.types, wanted.keys)
