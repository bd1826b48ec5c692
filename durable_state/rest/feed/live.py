"""Live reading: a request that waits for changes without holding a thread or a database connection,
and that checks regularly whether the caller may still read.
"""

from __future__ import annotations

import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable

from asgiref.sync import SyncToAsync, sync_to_async
from django.db import connections
from django.http import Http404

from durable_state.feed import Hub, StreamRemoved, run_for, subscribe
from durable_state.feed.frame_cache import SharedFrames
from durable_state.feed.log import LoggedEntry
from durable_state.feed.outage import DATABASE_AWAY, Outage, is_away, warn_away
from durable_state.models import Status

from .answers import events, next_cursor
from .offset import Offset
from .reading import Answer, OffsetGone, Reading

__all__ = ["AccessEnded", "Following", "event_stream", "long_poll"]

LONG_POLL_SECONDS = 20.0
"""The longest that a long-poll waits, in seconds."""
EVENTS_SECONDS = 60.0
"""About how long an event stream lasts, in seconds; its client then reconnects. Spec: PROTOCOL.md
5.8.
"""
HEARTBEAT_SECONDS = 15.0
"""Seconds without news after which an event stream repeats its offset, to keep proxies from closing
it.
"""
RENEW_SECONDS = 5.0
"""Seconds between two checks whether the caller may still read."""


class AccessEnded(Exception):
    """The caller may no longer read the stream, or now sees other parts of it."""


Renew = Callable[[Reading], bool]
"""Updates a reading with its caller's current permissions; returns whether they are unchanged."""


class Following:
    """Follows the feed from an offset."""

    def __init__(self, hub: Hub, reading: Reading, offset: Offset, follower: str, renew: Renew):
        self._hub = hub
        self._reading = reading
        self._offset = offset
        self._follower = follower
        self._renew = renew
        self._renewed = time.monotonic()
        self._closed = False
        self._outage = Outage(f"a reader of {reading.stream.name!r}")

    async def read(self) -> Answer:
        """What follows now. Raises: OffsetGone, StreamRemoved."""
        offset = self._offset
        if offset.place is not None:
            answer = await run_for(self._follower, self._reading.read, offset)
            if answer.next.revision < self._hub.revision:  # what was committed meanwhile follows
                answer.up_to_date = answer.closed = False
        else:
            entries = await self._hub.pull(offset.revision)
            if entries is None:
                raise OffsetGone
            if not entries and not self._reading.is_due(offset):
                return Answer(offset, up_to_date=True, closed=self._closed)
            answer = await self._follow(offset, entries, self._hub.revision)
        self._offset, self._closed = answer.next, answer.closed
        return answer

    async def _follow(self, offset: Offset, entries: list[LoggedEntry], newest: int) -> Answer:
        """The contents of these entries. For readers who share an audience, each entry is rendered
        once.
        """
        reading = self._reading
        if reading.audience.is_personal:
            return await run_for(self._follower, reading.follow, offset, entries, newest)
        known = {each.revision: await self._rendered(each) for each in entries}
        if self._is_at_end:
            return await run_for(self._follower, reading.follow, offset, entries, newest, known)
        return reading.follow(offset, entries, newest, known)

    async def _rendered(self, entry: LoggedEntry) -> SharedFrames:
        async def read() -> SharedFrames:
            return await run_for(self._follower, self._reading.render, entry)

        name = ("feed", entry.revision, self._reading.audience.signature)
        if self._reading.asks_for_rows(entry):
            return await self._hub.shared.wait_for(name, read)
        return self._hub.shared.get(name, lambda: self._reading.render(entry))

    async def wait(self, until: float) -> Answer:
        """Waits for what follows; empty if nothing came before ``until``, on the monotonic clock.

        Raises: OffsetGone, StreamRemoved, AccessEnded.
        """
        while True:
            # Also while there is always something to send.
            is_due = time.monotonic() >= self._renewed + RENEW_SECONDS
            if is_due or (self._hub.closed and not self._is_at_end):
                await self.look()
            answer = await self.read()
            now = time.monotonic()
            if answer.count or answer.closed or not answer.up_to_date or now >= until:
                return answer
            renewal = self._renewed + RENEW_SECONDS
            await self._hub.wait(
                answer.next.revision,
                max(0.0, min(until, renewal) - now),
                closed=None if self._is_at_end else False,
            )

    async def look(self) -> None:
        """Checks that the caller's permissions are unchanged. Raises: AccessEnded.

        While the database does not answer, the last answer counts.
        """
        try:
            is_same = await run_for(self._follower, self._renew, self._reading)
            if is_same:
                await self.note_closed()
        except DATABASE_AWAY as error:
            await self._outage.wait(error)
            return
        if not is_same:
            raise AccessEnded
        self._outage.end()
        self._renewed = time.monotonic()

    @property
    def _is_at_end(self) -> bool:
        """Whether the stream had ended at the last check; parked changes may still follow."""
        return self._reading.stream.status == Status.CLOSED

    async def note_closed(self) -> None:
        """Records whether anything may still come."""
        self._closed = self._is_at_end and await run_for(self._follower, self._reading.is_closed)


async def long_poll(
    reading: Reading, begin: Callable[[], Awaitable[Offset]], follower: str, renew: Renew
) -> Answer:
    """Waits for what follows the offset; empty after LONG_POLL_SECONDS.

    Raises: OffsetGone, TooManySubscribers, Http404.
    """
    async with subscribe(reading.stream, follower) as hub:
        try:
            await hub.refresh()
            offset = await begin()
            await _release_thread()
            following = Following(hub, reading, offset, follower, renew)
            await following.note_closed()
            return await following.wait(time.monotonic() + LONG_POLL_SECONDS)
        except StreamRemoved as error:
            raise Http404 from error
        except AccessEnded:
            return Answer(offset, up_to_date=True)  # The client's next request gets the reason.


async def event_stream(
    reading: Reading,
    begin: Callable[[], Awaitable[Offset]],
    follower: str,
    renew: Renew,
    cursor: str,
) -> AsyncIterator[str]:
    """The events of one connection; the first is ready before this returns.

    Raises: OffsetGone, TooManySubscribers, Http404.
    """
    texts = _events(reading, begin, follower, renew, cursor)
    try:
        first = await anext(texts)
    except StreamRemoved as error:
        raise Http404 from error
    return _continued(first, texts)


async def _continued(first: str, texts: AsyncGenerator[str, None]) -> AsyncGenerator[str, None]:
    try:
        yield first
        await _release_thread()  # which middleware opened again
        async for text in texts:
            yield text
    except (StreamRemoved, AccessEnded, OffsetGone):
        pass  # The client reconnects, and gets the reason.
    except DATABASE_AWAY as error:
        if not is_away(error):
            raise
        warn_away("an event stream", error)  # The client reconnects.
    finally:
        await texts.aclose()


async def _events(
    reading: Reading,
    begin: Callable[[], Awaitable[Offset]],
    follower: str,
    renew: Renew,
    cursor: str,
) -> AsyncGenerator[str, None]:
    # Spread out, for clients that all came at once.
    end = time.monotonic() + EVENTS_SECONDS * random.uniform(0.9, 1.1)  # noqa: S311
    async with subscribe(reading.stream, follower) as hub:
        await hub.refresh()
        offset = await begin()
        following = Following(hub, reading, offset, follower, renew)
        await following.note_closed()
        answer = await following.read()
        while True:
            yield events(answer, next_cursor(cursor))
            now = time.monotonic()
            if answer.closed or now >= end:
                return
            answer = await following.wait(min(end, now + HEARTBEAT_SECONDS))


async def _release_thread() -> None:
    """Ends the thread in which Django began the request, and its database connections.

    Another one starts if it is needed.
    """
    context = SyncToAsync.thread_sensitive_context.get(None)
    if context is None:
        return  # not the request's own thread, but a test's, which others use too
    await sync_to_async(connections.close_all)()
    executor = SyncToAsync.context_to_thread_executor.pop(context, None)
    if executor is not None:
        executor.shutdown(wait=False)
