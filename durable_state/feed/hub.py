"""One subscription per process, event loop and stream, however many sockets follow it.

It listens to the bell where there is a channel layer, reads the log every FEED_POLL_SECONDS where
none crosses processes (and now and then where one does, since bells get lost), notices a gap by
its number, and tells its subscribers only that the revision advanced. They pull at their own
pace, so that a slow one costs no memory.

Why: decisions 8 and 44.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import weakref
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Callable, Coroutine, Hashable, Sequence
from typing import Any, NamedTuple

from channels.layers import InMemoryChannelLayer, get_channel_layer

from durable_state.conf import get_settings
from durable_state.errors import DurableStateError
from durable_state.models import FeedEntry, Status, Stream

from . import log
from .bell import RING_SECONDS, group_name, written_database
from .frame_cache import FrameCache
from .frames import stream_identity
from .threads import run_for

__all__ = ["Hub", "StreamRemoved", "TooManySubscribers", "subscribe"]

logger = logging.getLogger("durable_state.feed")

KEPT_ENTRIES = 256
KEPT_BYTES = 4 * 1024 * 1024
"""How much of the log's end a stream keeps in memory, and how much of frames that are shared."""
SAFETY_FACTOR = 10
"""With a channel layer that crosses processes the log is polled this many times less often."""
REJOIN_SECONDS = 600.0
"""Seconds after which the group is joined again.

Memberships expire, and a flushed Redis forgets them.
"""
BACKOFF_SECONDS = 15.0
"""Seconds at most between two attempts to reach a channel layer that is down."""


class TooManySubscribers(DurableStateError):
    """The process serves FEED_SUBSCRIBERS sockets of this stream, or its share to this follower."""


class StreamRemoved(DurableStateError):
    """The stream was removed while it was followed."""


class _End(NamedTuple):
    """What the database says of a log's end; without a revision: the stream is gone."""

    revision: int | None
    up_to_date: bool = False
    closed: bool = False
    stamp: int = 0
    went_back: bool = False
    """Whether the newest commit that was known is not there, or another one has its number."""
    entries: Sequence[log.LoggedEntry] = ()


class Hub:
    """The end of one stream's log, as far as this process knows it.

    Invariant: ``revision`` never runs ahead of the database, so whatever is read after looking at
    it is at least as new.
    """

    def __init__(self, stream: Stream) -> None:
        self.stream_name = stream.name
        self.stream_pk = int(stream.pk)
        self.using = written_database(stream)
        self.name = f"the log of {stream.name!r}"
        self.identity = stream_identity(stream)
        self.revision = -1
        self.stamp = 0
        """Tells the revision's commit from another one of its number; 0: not known."""
        self.up_to_date = False
        self.removed = False
        self.closed = False
        """Whether the stream's end was reached; known by the next look."""
        self.shared = FrameCache(KEPT_BYTES)
        self.groups: dict[Hashable, Any] = {}
        """Those who are woken when something is new: subscribers that see the same."""
        self._followers = Counter[str]()

        self._entries: OrderedDict[int, log.LoggedEntry] = OrderedDict()
        self._bytes = 0

        self._reading = asyncio.Lock()
        self._moved = asyncio.Event()
        self._look = asyncio.Event()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._refreshing: asyncio.Task[None] | None = None
        """A look that has not begun yet, which all may share who ask for one meanwhile."""

        self._channel: str | None = None
        self._rings = False
        """Whether the bell is known to ring: no commit was found that it had not told of."""
        self._group = group_name(self.stream_name, self.stream_pk, self.using)

    # What subscribers use.

    async def wait(self, after: int, timeout: float) -> None:
        """Returns once the revision differs from ``after``, or the stream was removed.

        At the latest after ``timeout`` seconds.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while self.revision == after and not self.removed:
                    await self._moved.wait()

    async def pull(self, after: int) -> list[log.LoggedEntry] | None:
        """Some of the entries that follow ``after``, none when there are none.

        None where they are no longer known. Raises: StreamRemoved.
        """
        self._require_stream()
        if after == self.revision:
            return []
        if after > self.revision:  # The database went back in time.
            return None
        found: list[log.LoggedEntry] = []
        while (entry := self._entries.get(after + 1 + len(found))) is not None and len(found) < 64:
            found.append(entry)
        if not found:
            revision = self.revision
            found = await run_for(
                f"{self.name}, older", log.entries, self.stream_pk, after, self.using
            )
            found = [entry for entry in found if entry.revision <= revision]
        return found or None

    async def refresh(self) -> None:
        """Looks into the database: ``revision`` is then at least what was committed at the call.

        Raises: StreamRemoved.
        """
        if self._refreshing is None:
            self._refreshing = asyncio.create_task(self._refresh())
            self._refreshing.add_done_callback(_see)
        # Whoever leaves must not take the look away from the others.
        await asyncio.shield(self._refreshing)
        self._require_stream()

    async def _refresh(self) -> None:
        async with self._reading:
            self._refreshing = None
            found = await run_for(self.name, self._read, self.revision, self.stamp)
            revision, entries = found.revision, found.entries
            was_closed, self.closed = self.closed, found.closed
            if revision is None:
                self.removed = True
            elif (
                revision == self.revision + len(entries)
                and self.revision >= 0
                and not found.went_back
            ):
                for entry in entries:
                    self._keep(entry)
                if not entries and was_closed == self.closed:
                    return
            else:
                self._entries.clear()
                self._bytes = 0
                self.revision, self.up_to_date = revision, found.up_to_date
                self.stamp = found.stamp
                if found.went_back:
                    self._start_anew()
            self._announce()

    async def knows(self, revision: int, stamp: int) -> bool:
        """Whether the log goes on from the commit of that number, as far as its stamp tells."""
        if revision > self.revision or not stamp:
            return revision <= self.revision
        entry = self._entries.get(revision)
        if revision == self.revision:
            known = self.stamp
        elif entry is not None:
            known = entry.stamp
        else:
            # Each by itself, where many come back at once.
            follower = f"{self.name}, {revision}"
            known = await run_for(follower, log.stamp_at, self.stream_pk, revision, self.using)
        return known in (0, stamp)

    # Who follows it.

    @property
    def subscribers(self) -> int:
        """How many sockets follow it now."""
        return self._followers.total()

    def take_place(self, follower: str) -> None:
        """Counts one more socket of ``follower``. Raises: TooManySubscribers."""
        limit, own = get_settings().feed_subscribers, self._followers[follower]
        left_by_others = limit - (self.subscribers - own)
        if self.subscribers >= limit:
            raise TooManySubscribers(
                f"{self.stream_name!r} has {limit} subscribers in this process.",
                "Raise FEED_SUBSCRIBERS.",
            )
        # A first socket is always let in; nobody can take the last places by opening many.
        if follower and own and (own + 1) * 2 > left_by_others:
            raise TooManySubscribers(
                f"{follower} has {own} sockets of {self.stream_name!r} in this process, its share.",
                "Close some, or raise FEED_SUBSCRIBERS.",
            )
        self._followers[follower] += 1

    def leave_place(self, follower: str) -> None:
        """Counts one socket less."""
        self._followers[follower] -= 1
        if not self._followers[follower]:
            del self._followers[follower]

    # What it does meanwhile.

    async def start(self) -> None:
        """Begins to listen, once."""
        self.keep_running("listening", Hub._listen)
        self.keep_running("polling", Hub._poll)

    def keep_running(self, name: str, run: Callable[[Hub], Coroutine[Any, Any, None]]) -> None:
        """Runs something once for all who ask for it, until the hub is stopped."""
        if name not in self._tasks:
            self._tasks[name] = asyncio.create_task(run(self))

    async def stop(self) -> None:
        """Ends its tasks."""
        tasks, self._tasks = list(self._tasks.values()), {}
        pending = set(tasks)
        while pending:
            # More than once: a layer whose connection breaks just then may swallow a cancellation.
            for task in pending:
                task.cancel()
            _, pending = await asyncio.wait(pending, timeout=1)
        await asyncio.gather(*tasks, return_exceptions=True)

    def _read(self, after: int, stamp: int) -> _End:
        """The end of the log, with the entries from ``after``, a commit of that stamp, to it.

        Without entries, where they are not few, or not all known.
        """
        found = Stream.objects.using(self.using).filter(pk=self.stream_pk)
        stream = found.only("revision", "status", "created_at", "logged_at").first()
        if stream is None or stream_identity(stream) != self.identity:
            return _End(None)

        revision, closed = stream.revision, stream.status == Status.CLOSED
        newest_stamp = log.stamp_of(stream.logged_at)
        known = newest_stamp
        if revision > after >= 0:
            known = log.stamp_at(self.stream_pk, after, self.using)
        went_back = revision < after or (stamp and known and known != stamp)
        if not went_back and 0 <= after <= revision <= after + 64:
            entries = log.entries(self.stream_pk, after, self.using) if revision > after else []
            entries = [entry for entry in entries if entry.revision <= revision]
            if len(entries) == revision - after:
                return _End(revision, closed=closed, entries=entries)

        newest = FeedEntry.objects.using(self.using).filter(
            stream_id=self.stream_pk, revision=revision
        )
        up_to_date = newest.values_list("up_to_date", flat=True).first()
        if up_to_date is None:  # it was pruned
            up_to_date = stream.status in (Status.LIVE, Status.CLOSED)
        return _End(revision, up_to_date, closed, newest_stamp, bool(went_back))

    def _require_stream(self) -> None:
        if self.removed:
            raise StreamRemoved(f"The stream {self.stream_name!r} was removed.")

    def _keep(self, entry: log.LoggedEntry) -> None:
        self._entries[entry.revision] = entry
        self._bytes += entry.size
        self.revision, self.up_to_date = entry.revision, entry.up_to_date
        self.stamp = entry.stamp
        while len(self._entries) > KEPT_ENTRIES or (self._bytes > KEPT_BYTES and self._entries):
            _, dropped = self._entries.popitem(last=False)
            self._bytes -= dropped.size

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

    async def _poll(self) -> None:
        while not self.removed:
            asked = await self._wait_for_a_look()
            known = self.revision

            try:
                await self.refresh()
            except StreamRemoved:
                return
            except Exception:
                logger.exception(
                    "%s: the feed log could not be read; trying again.", self.stream_name
                )
                await asyncio.sleep(get_settings().feed_poll_seconds)

            if self.revision != known and self._channel is not None and not asked:
                # No bell told: a layer that is down does not always say so, and a flushed Redis
                # forgets who is in the group.
                self._rings = False
                with contextlib.suppress(Exception):
                    await self._join(self._channel)

    async def _wait_for_a_look(self) -> bool:
        """Waits until the log is to be read; whether there is a reason besides the time."""
        seconds = get_settings().feed_poll_seconds
        if self._rings and not isinstance(get_channel_layer(), InMemoryChannelLayer):
            seconds *= SAFETY_FACTOR
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._look.wait()
        asked = self._look.is_set()
        self._look.clear()
        return asked

    async def _join(self, channel: str) -> None:
        layer = get_channel_layer()
        if layer is not None:
            async with asyncio.timeout(RING_SECONDS):
                await layer.group_add(self._group, channel)

    async def _listen(self) -> None:
        layer = get_channel_layer()
        failures = 0
        while layer is not None and not self.removed:
            try:
                channel = await layer.new_channel()
                await self._join(channel)
                self._channel, self._rings = channel, True
                self._look.set()  # Bells that rang before we were in the group.
                joined = time.monotonic()
                while True:
                    message = await layer.receive(channel)
                    failures = 0
                    await self._hear(message)
                    if time.monotonic() - joined > REJOIN_SECONDS:
                        await self._join(channel)
                        joined = time.monotonic()
            except Exception as error:
                failures += 1
                if failures == 1:
                    logger.warning(
                        "%s: no channel layer, so the feed log is polled instead: %r",
                        self.stream_name,
                        error,
                    )
            finally:
                await self._leave()
            await asyncio.sleep(min(BACKOFF_SECONDS, 0.5 * 2 ** min(failures, 6)))

    async def _leave(self) -> None:
        channel, self._channel, self._rings = self._channel, None, False
        layer = get_channel_layer()
        self._look.set()  # From now on the log is polled at its full pace.
        if channel is not None and layer is not None:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(RING_SECONDS):
                    await layer.group_discard(self._group, channel)

    async def _hear(self, message: dict[str, Any]) -> None:
        """Takes the entry that came with the bell where it is the next one, or has the log read."""
        self._rings = True
        payload = str(message.get("entry") or "")
        entry = log.unpack_bell(payload, self.identity) if payload else None
        async with self._reading:
            if entry is not None and self.revision >= 0:
                if entry.revision <= self.revision:
                    if entry.stamp > self.stamp:
                        self._look.set()  # The database went back in time.
                    return
                if entry.revision == self.revision + 1:
                    entry.size = len(payload)
                    self._keep(entry)
                    self._announce()
                    return
        self._look.set()


def _see(task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        task.exception()  # Seen, even when everyone who waited has left.


_hubs: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[tuple[str, str], Hub]] = (
    weakref.WeakKeyDictionary()
)


@contextlib.asynccontextmanager
async def subscribe(stream: Stream, follower: str = "") -> AsyncIterator[Hub]:
    """The stream's hub in this process, listening for as long as someone is subscribed.

    ``follower`` names whose socket it is: of the places that all others leave, one follower takes
    half at most. Without a name only the places are counted.
    Raises: TooManySubscribers, beyond FEED_SUBSCRIBERS, or beyond that half.
    """
    hubs = _hubs.setdefault(asyncio.get_running_loop(), {})
    name = (written_database(stream), stream_identity(stream))
    hub = hubs.get(name)
    if hub is None:
        hub = hubs[name] = Hub(stream)
    hub.take_place(follower)
    try:
        await hub.start()
        yield hub
    finally:
        hub.leave_place(follower)
        if not hub.subscribers:
            if hubs.get(name) is hub:
                del hubs[name]
            await hub.stop()
