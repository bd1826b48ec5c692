"""One subscriber: a snapshot where it needs one, then what each commit changed, at its own pace."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Any

from channels.db import database_sync_to_async

from durable_state.errors import DurableStateError

from .audience import Audience, Sight
from .frame_cache import SharedFrames
from .frames import FROM_START, control, encode_frame, encode_frames
from .hub import Hub
from .log import LoggedEntry
from .rendering import Rendering, delete_item, row_item
from .rows import PAGE_ROWS, page, page_of_keys

__all__ = ["RENEW_SECONDS", "AccessWithdrawn", "Subscriber"]

RENEW_SECONDS = 60.0
"""Seconds at most for which an open socket outlives a permission that was withdrawn."""

SHARED_SECONDS = 2.0
"""Seconds for which subscribers that arrive together share the pages of one snapshot."""


class AccessWithdrawn(DurableStateError):
    """The stream is no longer readable for this subscriber."""


class Subscriber:
    """Yields the frames that make, and keep, a client's state the rows that its audience may see.

    ``renew`` is asked every RENEW_SECONDS for the audience as it is then (None: access was
    withdrawn). ``offset`` is the token of the last frame the client saw, "" if it saw none.
    """

    def __init__(
        self,
        hub: Hub,
        audience: Audience,
        renew: Callable[[], Awaitable[Audience | None]],
        offset: str = "",
    ) -> None:
        self._hub = hub
        self._renew = renew
        self._revision = audience.resume(offset)
        self._rendering = Rendering(audience)

    @property
    def _audience(self) -> Audience:
        return self._rendering.audience

    async def frames(self) -> AsyncGenerator[str, None]:
        """The frames, for ever. Raises: StreamRemoved, AccessWithdrawn."""
        await self._hub.refresh()
        renewed = time.monotonic()
        if self._revision is not None and self._revision == self._hub.revision:
            yield encode_frame([], self._audience.token(self._revision), self._hub.up_to_date)
        while True:
            if self._revision is None:
                async for text in self._snapshot():
                    yield text
            async for text in self._missed():
                yield text
            if self._revision is not None:
                await self._hub.wait(
                    self._revision, max(0.0, renewed + RENEW_SECONDS - time.monotonic())
                )
            if time.monotonic() - renewed >= RENEW_SECONDS:
                async for text in self._renewed():
                    yield text
                renewed = time.monotonic()

    async def _snapshot(self) -> AsyncIterator[str]:
        await self._hub.refresh()
        # Read before the first row, so whatever the rows below miss, or show too early, comes again
        # as a live change.
        revision = self._hub.revision
        self._rendering.forget()
        yield encode_frame([control("snapshot-start")], FROM_START, False)
        moment = int(time.monotonic() / SHARED_SECONDS)
        for name, sight in self._audience.sights.items():
            after: Any = None
            while True:
                frames = await self._page((revision, moment), name, sight, after)
                for text in frames.texts if not frames.blank else ():
                    yield text
                if frames.last is None:
                    break
                after = frames.last
        self._revision = revision
        newest = revision == self._hub.revision
        yield encode_frame(
            [control("snapshot-end")],
            self._audience.token(revision),
            newest and self._hub.up_to_date,
        )

    async def _page(
        self, moment: tuple[int, int], name: str, sight: Sight, after: Any
    ) -> SharedFrames:
        async def make() -> SharedFrames:
            return await database_sync_to_async(self._read_page)(name, sight, after)

        if sight.narrowed:
            return await make()
        # A page that was read at this revision or later serves everyone who starts from it; not for
        # long, because `represent` may show columns that change without a commit.
        page_name = (moment, self._audience.signature, name, after)
        return await self._hub.shared.wait_for(page_name, make)

    def _read_page(self, name: str, sight: Sight, after: Any) -> SharedFrames:
        rows, last = page(sight.mapping, sight.asked, after)
        # The database may compare keys without case.
        rows = [row for row in rows if sight.wants(sight.mapping.key_of(row))]
        if sight.narrowed:
            self._rendering.shown[name].update(sight.mapping.key_of(row) for row in rows)
        items = [row_item(name, sight, row, "insert") for row in rows]
        return SharedFrames(encode_frames(items, FROM_START, FROM_START, False), not items, last)

    async def _missed(self) -> AsyncIterator[str]:
        """The frames of the next commits; leaves ``_revision`` None where a snapshot is due."""
        if self._revision is None:
            return
        entries = await self._hub.pull(self._revision)
        if entries is None:
            self._revision = None
            return
        for entry in entries:
            if entry.snapshot:
                frames = await self._entry_frames(entry, 0, newest=False)
                for text in frames.texts if not frames.blank else ():
                    yield text
                self._revision = None
                return
            newest = entry.revision == self._hub.revision
            chunks = range(0, max(1, len(entry.changes)), PAGE_ROWS)
            for start in chunks:
                frames = await self._entry_frames(entry, start, newest)
                # What changed nothing here only moves the token, which the next frame does as well.
                if not frames.blank or (entry is entries[-1] and start == chunks[-1]):
                    for text in frames.texts:
                        yield text
            self._revision = entry.revision

    async def _entry_frames(self, entry: LoggedEntry, start: int, newest: bool) -> SharedFrames:
        async def read() -> SharedFrames:
            return await database_sync_to_async(self._rendering.frames)(entry, start, newest)

        if self._audience.narrowed:
            return await read()
        name = (entry.revision, self._audience.signature, start, newest)
        if self._rendering.asks_for_rows(entry, start):
            return await self._hub.shared.wait_for(name, read)
        return self._hub.shared.get(name, lambda: self._rendering.frames(entry, start, newest))

    async def _renewed(self) -> AsyncIterator[str]:
        """Sees that the audience is still the same.

        What a narrowed one gained or lost without a commit is made up for.
        """
        audience = await self._renew()
        if audience is None:
            raise AccessWithdrawn(
                f"{self._audience.stream.name!r} is no longer readable for this subscriber."
            )
        changed = audience.signature != self._audience.signature
        self._rendering.audience = audience
        if changed:
            self._revision = None
        if self._revision is None:
            return
        for name, sight in audience.sights.items():
            if sight.narrowed:
                async for text in self._difference(name, sight, self._revision):
                    yield text

    async def _difference(self, name: str, sight: Sight, revision: int) -> AsyncIterator[str]:
        shown, seen = self._rendering.shown[name], set[str]()
        token, up_to_date = (
            self._audience.token(revision),
            self._hub.up_to_date and revision == self._hub.revision,
        )
        after: Any = None
        while True:
            keys, after = await database_sync_to_async(page_of_keys)(
                sight.mapping, sight.asked, after
            )
            items = await database_sync_to_async(self._rendering.inserts)(
                name, sight, [key for key in keys if key not in shown and sight.wants(key)]
            )
            for text in encode_frames(items, token, token, up_to_date) if items else ():
                yield text
            seen.update(keys)
            if after is None:
                break
        gone = [delete_item(name, key) for key in shown - seen]
        self._rendering.shown[name] = seen
        for start in range(0, len(gone), PAGE_ROWS):
            yield encode_frame(gone[start : start + PAGE_ROWS], token, up_to_date)
