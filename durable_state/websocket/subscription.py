"""One stream that one socket follows."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable, Hashable
from typing import Any

from durable_state.feed import (
    Audience,
    ClientGone,
    StreamRemoved,
    Subscriber,
    run_for,
    run_once_for,
    subscribe,
)
from durable_state.feed.frames import Frame, stream_identity
from durable_state.models import STREAM_NAME, Stream
from durable_state.policy import audience_of, followed_stream
from durable_state.users import identity_of, user_now

from .caller import Caller
from .client_message import Subscribe
from .close_codes import NO_SUCH_STREAM, NOT_ALLOWED, NOT_SIGNED_IN, code_of

__all__ = ["Subscription"]

_NAME = re.compile(STREAM_NAME)


class Subscription:
    """Passes the frames of a stream to ``send``, until it is stopped or something ends it.

    If something ends it, ``ended`` is called once, with the close code. It has a task while it
    starts and while it ends, and none in between.
    """

    def __init__(
        self,
        caller: Caller,
        wanted: Subscribe,
        send: Callable[[Frame], Awaitable[None]],
        ended: Callable[[int], Awaitable[None]],
    ) -> None:
        self._caller = caller
        self._wanted = wanted
        self._send = send
        self._ended = ended
        self._held = contextlib.AsyncExitStack()
        """What to release at the end."""
        self._subscriber: Subscriber | None = None
        self._task = asyncio.create_task(self._begin())

    @property
    def is_sending(self) -> bool:
        """Whether the client has yet to accept a frame."""
        return self._subscriber is not None and self._subscriber.is_sending

    async def stop(self) -> None:
        """Stops, without calling ``ended``."""
        self._task.cancel()
        await asyncio.wait([self._task])
        await self._held.aclose()

    async def _begin(self) -> None:
        try:
            code = await self._follow()
        except Exception as error:
            code = code_of(error, self._wanted.subscribe)
        if code is not None:
            await self._end(code)

    async def _follow(self) -> int | None:
        """Starts following the stream; returns the close code if it may not."""
        user, follower, wanted = self._caller.user, self._caller.follower, self._wanted
        renewal = _renewal(user, wanted)
        key = object() if renewal is None else (wanted.subscribe, renewal, follower)
        found = await run_once_for(key, follower, _find, user, wanted)
        if isinstance(found, int):
            return found
        stream = found.stream

        async def renew() -> Audience | None:
            return await run_for(follower, _renewed, user, stream, wanted)

        hub = await self._held.enter_async_context(subscribe(stream, follower))
        subscriber = Subscriber(
            hub, found, renew, wanted.offset, follower=follower, renewal=renewal
        )
        self._subscriber = subscriber
        self._held.push_async_callback(subscriber.stop)
        subscriber.start(self._send, self._fail)
        return None

    def _fail(self, error: Exception) -> None:
        code = code_of(error, self._wanted.subscribe)
        self._task = asyncio.create_task(self._end(code))

    async def _end(self, code: int) -> None:
        await self._held.aclose()
        with contextlib.suppress(ClientGone):  # who would be told
            await self._ended(code)


def _renewal(user: Any, wanted: Subscribe) -> Hashable:
    """Names the sockets about which the policy is asked once: those of a user with equal wishes."""
    identity = identity_of(user)
    if identity is None:
        return None
    return identity, frozenset(wanted.types), frozenset(wanted.keys)


def _find(user: Any, wanted: Subscribe) -> Audience | int:
    """What the user sees of the stream, or the close code if they may not read it."""
    stream = _followed_stream(user, wanted.subscribe)
    if stream is None:
        return _why_not(user, wanted.subscribe)
    return audience_of(user, stream, wanted.types, wanted.keys)


def _followed_stream(user: Any, name: str) -> Stream | None:
    # A database may refuse a name that no stream can have.
    return followed_stream(user, name) if _NAME.fullmatch(name) else None


def _why_not(user: Any, name: str) -> int:
    """The close code for a stream that cannot be read.

    Somebody who is not signed in does not learn whether it exists.
    """
    if not user.is_authenticated:
        return NOT_SIGNED_IN
    exists = _NAME.fullmatch(name) is not None and Stream.objects.filter(name=name).exists()
    return NOT_ALLOWED if exists else NO_SUCH_STREAM


def _renewed(user: Any, stream: Stream, wanted: Subscribe) -> Audience | None:
    """The audience as of now. Raises: StreamRemoved, also where the stream has another name."""
    user = user_now(user)
    found = followed_stream(user, stream.name)
    if found is None and _why_not(user, stream.name) != NO_SUCH_STREAM:
        return None
    if found is None or stream_identity(found) != stream_identity(stream):
        raise StreamRemoved(f"There is no stream {stream.name!r} any more.")
    return audience_of(user, stream, wanted.types, wanted.keys)
