"""One subscription per process, event loop and stream, however many sockets follow the stream.

The hub hears the bell if there is a channel layer, reads the log from time to time, and notices a
gap by its number. It only tells its subscribers that the revision advanced; they pull entries at
their own pace, so a slow one costs no memory. Listening, polling and asking the policy again are
done once for all hubs of an event loop.

Why: decisions 8, 44 and 76.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
import weakref
from collections import deque
from collections.abc import AsyncIterator, Hashable
from typing import Any

from durable_state.errors import DurableStateError
from durable_state.models import Stream

from . import log
from .bell import group_name, written_database
from .ending import end_tasks
from .frame_cache import FrameCache
from .frames import stream_identity
from .listening import Listening
from .log_end import KEPT_BYTES, Head, KeptEntries, LogEnd, read_log_end
from .outage import is_away, warn_away
from .places import Places
from .polling import Polling
from .renewal import renew_all
from .threads import note_error, run_for

__all__ = ["Hub", "StreamRemoved", "subscribe"]

logger = logging.getLogger("durable_state.feed")

UNHEARD_BELLS = 64
"""Bells kept while the log is being read."""


class StreamRemoved(DurableStateError):
    """The stream was removed while it was followed."""


class Hub:
    """The end of one stream's log, as this process knows it.

    Invariant: ``revision`` never runs ahead of the database, so whatever is read after looking at
    it is at least as new.
    """

    def __init__(self, stream: Stream, common: _Common) -> None:
        self.stream_name = stream.name
        self.stream_pk = int(stream.pk)
        self.using = written_database(stream)
        self.name = f"the log of {stream.name!r}"
        self.identity = stream_identity(stream)
        self.group = group_name(self.stream_name, self.stream_pk, self.using)
        self.revision = -1
        self.stamp = 0
        """Distinguishes the revision's commit from another one with the same number; 0: unknown."""
        self.up_to_date = False
        self.removed = False
        self.closed = False
        """Whether the stream has ended, as of the last time the database was asked."""
        self.is_joined = False
        """Whether the bell can be heard."""
        self.rings = False
        """Whether the bell works, as far as is known: it has announced every commit so far."""
        self.polled_at = time.monotonic()
        self.places = Places(stream.name)
        self.shared = FrameCache(KEPT_BYTES)
        self.groups: dict[Hashable, Any] = {}
        """The groups to wake when something is new, by name."""

        self._common = common
        self._entries = KeptEntries()
        self._unheard = deque[dict[str, Any]](maxlen=UNHEARD_BELLS)
        self._moved = asyncio.Event()
        self._reading = asyncio.Lock()
        self._refreshing: asyncio.Task[None] | None = None
        """A read of the log that has not begun yet, shared by everybody who asks meanwhile."""
        self._looking: asyncio.Task[None] | None = None
        self._look_due = False

    # For subscribers

    async def wait(self, after: int, timeout: float, *, closed: bool | None = None) -> None:
        """Returns once the revision differs from ``after``, or the stream was removed.

        Also where ``closed`` differs from it, if that is given. At the latest after ``timeout``
        seconds.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while self.revision == after and not self.removed and closed in (None, self.closed):
                    await self._moved.wait()

    async def pull(self, after: int) -> list[log.LoggedEntry] | None:
        """Some of the entries after revision ``after``; an empty list if there are none.

        None if they are no longer known. Raises: StreamRemoved.
        """
        self._require_stream()
        if after == self.revision:
            return []
        if after > self.revision:  # The database went back in time.
            return None
        found = self._entries.following(after)
        if not found:
            revision = self.revision
            found = await run_for(
                f"{self.name}, older", log.entries, self.stream_pk, after, self.using
            )
            found = [entry for entry in found if entry.revision <= revision]
        return found or None

    def find_newest(self, after: int) -> log.LoggedEntry | None:
        """The newest entry, if it is kept and the only one after revision ``after``."""
        is_next = not self.removed and after + 1 == self.revision
        return self._entries.find(self.revision) if is_next else None

    async def refresh(self) -> None:
        """Reads the log, so that ``revision`` covers everything committed before the call.

        Raises: StreamRemoved.
        """
        if self._refreshing is None:
            self._refreshing = asyncio.create_task(self._refresh())
            self._refreshing.add_done_callback(note_error)
        # One caller that is cancelled must not cancel the read for the others.
        await asyncio.shield(self._refreshing)
        self._require_stream()

    async def knows(self, revision: int, stamp: int) -> bool:
        """Whether the log goes on from the commit of that number, as far as its stamp tells."""
        if revision > self.revision or not stamp:
            return revision <= self.revision
        entry = self._entries.find(revision)
        if revision == self.revision:
            known = self.stamp
        elif entry is not None:
            known = entry.stamp
        else:
            # Separately for each revision, since many may come back at once.
            follower = f"{self.name}, {revision}"
            known = await run_for(follower, log.stamp_at, self.stream_pk, revision, self.using)
        return known in (0, stamp)

    # The bell

    def begin_to_hear(self) -> None:
        """Notes that the bell can be heard from now on, and has earlier commits looked for."""
        if not self.is_joined:
            self.is_joined = self.rings = True
            self._common.polling_of(self.using).ask(self)

    def hear_nothing(self) -> None:
        """Notes that the bell cannot be heard, so that the log is polled at full pace."""
        self.is_joined = self.rings = False
        self._common.polling_of(self.using).ask(self)

    def hear(self, bell: dict[str, Any]) -> None:
        """Takes the entry that came with the bell if it is the next one, or has the log read."""
        self.rings = True
        if self._reading.locked():
            self._unheard.append(bell)
            return
        payload = str(bell.get("entry") or "")
        entry = log.unpack_bell(payload, self.identity) if payload else None
        if entry is None or self.revision < 0 or entry.revision > self.revision + 1:
            self._look()
        elif entry.revision == self.revision + 1:
            entry.size = len(payload)
            self._take(entry)
            self._announce()
        elif entry.stamp > self.stamp:
            self._look()  # The database went back in time.
        if bell.get("closed") and not self.closed:
            self._look()  # The entry does not say whether the stream has ended for good.

    # The log in the database

    def compare(self, head: Head | None, *, is_asked: bool) -> None:
        """Has the log read if its head differs from what is known here."""
        if self._looking is not None and not is_asked:
            return
        if head is not None and head.identity == self.identity:
            is_same_commit = head.revision == self.revision and (
                head.stamp == self.stamp or not head.stamp or not self.stamp
            )
            if is_same_commit and head.is_closed == self.closed:
                return
            if self.is_joined and not is_asked and head.revision > self.revision:
                # No bell told: a layer that is down does not always say so, and a flushed Redis
                # forgets who is in the group.
                self.rings = False
                self._common.listening.join(self.group)
        self._look()

    def _look(self) -> None:
        """Has the log read, in a task."""
        self._look_due = True
        if self._looking is None:
            self._looking = asyncio.create_task(self._look_while_due())

    async def _look_while_due(self) -> None:
        try:
            while self._look_due:
                self._look_due = False
                await self.refresh()
        except StreamRemoved:
            pass
        except Exception as error:
            if is_away(error):
                warn_away(self.name, error)
            else:
                logger.exception("%s could not be read; trying again.", self.name)
            self.polled_at = -math.inf
        finally:
            self._looking = None

    async def _refresh(self) -> None:
        try:
            async with self._reading:
                self._refreshing = None
                end = await run_for(
                    self.name,
                    read_log_end,
                    self.using,
                    self.stream_pk,
                    self.identity,
                    self.revision,
                    self.stamp,
                )
                self._go_to(end)
        finally:  # Also where the database gave no answer: nobody rings again for these.
            while self._unheard and not self._reading.locked():
                self.hear(self._unheard.popleft())

    def _go_to(self, end: LogEnd) -> None:
        was_closed, self.closed = self.closed, end.closed
        if end.revision is None:
            self.removed = True
        elif (
            end.revision == self.revision + len(end.entries)
            and self.revision >= 0
            and not end.went_back
        ):
            for entry in end.entries:
                self._take(entry)
            if not end.entries and was_closed == self.closed:
                return
        else:
            self._entries.clear()
            self.revision, self.up_to_date = end.revision, end.up_to_date
            self.stamp = end.stamp
            if end.went_back:
                self._start_anew()
        self._announce()

    def _take(self, entry: log.LoggedEntry) -> None:
        self._entries.add(entry)
        self.revision, self.up_to_date = entry.revision, entry.up_to_date
        self.stamp = entry.stamp

    def _start_anew(self) -> None:
        """The database went back in time, and other commits get the same numbers: no place, and
        nothing that was made, means what it did.
        """
        self.shared = FrameCache(KEPT_BYTES)
        groups, self.groups = self.groups, {}
        for group in groups.values():
            for member in list(group.members):
                member.start_anew()

    def _announce(self) -> None:
        self._moved.set()
        self._moved = asyncio.Event()
        for group in list(self.groups.values()):
            group.wake()

    def _require_stream(self) -> None:
        if self.removed:
            raise StreamRemoved(f"The stream {self.stream_name!r} was removed.")

    async def stop(self) -> None:
        """Stops reading the log."""
        looking, self._looking = self._looking, None
        if looking is not None:
            await end_tasks([looking])


class _Common:
    """What all hubs of one event loop share."""

    def __init__(self) -> None:
        self.hubs: dict[tuple[str, str], Hub] = {}
        """By database and identity of the stream."""
        self.listening = Listening()
        self._polling: dict[str, Polling] = {}
        """By database."""
        self._renewing: asyncio.Task[None] | None = None

    def polling_of(self, using: str) -> Polling:
        """Polls the logs of that database."""
        return self._polling.setdefault(using, Polling(using))

    def hub_of(self, stream: Stream) -> Hub:
        """The stream's hub, made and connected to the bell and the polling if it is new."""
        name = (written_database(stream), stream_identity(stream))
        hub = self.hubs.get(name)
        if hub is None:
            hub = self.hubs[name] = Hub(stream, self)
            self.listening.add(hub)
            self.polling_of(hub.using).add(hub)
            if self._renewing is None:
                self._renewing = asyncio.create_task(renew_all(self.hubs))
        return hub

    async def end(self, hub: Hub) -> None:
        """Ends a hub that nobody follows any more."""
        del self.hubs[hub.using, hub.identity]
        self.listening.remove(hub)
        polling = self.polling_of(hub.using)
        if not polling.remove(hub):
            del self._polling[hub.using]
            await polling.stop()
        await hub.stop()

    async def stop(self) -> None:
        """Ends what they share."""
        await self.listening.stop()
        if self._renewing is not None:
            await end_tasks([self._renewing])


_common: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Common] = weakref.WeakKeyDictionary()


@contextlib.asynccontextmanager
async def subscribe(stream: Stream, follower: str = "") -> AsyncIterator[Hub]:
    """The stream's hub in this process, listening for as long as someone is subscribed.

    ``follower`` names whose socket it is: of the places that all others leave, one follower takes
    half at most. Without a name only the places are counted.
    Raises: TooManySubscribers, beyond FEED_SUBSCRIBERS, or beyond that half.
    """
    loop = asyncio.get_running_loop()
    common = _common.setdefault(loop, _Common())
    hub = common.hub_of(stream)
    hub.places.take(follower)
    try:
        yield hub
    finally:
        hub.places.leave(follower)
        if not hub.places.taken:
            if len(common.hubs) == 1:
                del _common[loop]  # Whoever comes meanwhile finds nothing that is about to end.
            await common.end(hub)
            if not common.hubs:
                await common.stop()
