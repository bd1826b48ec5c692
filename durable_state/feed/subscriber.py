"""One subscriber: a snapshot where it needs one, then what each commit changed, at its own pace."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import msgspec
from channels.db import database_sync_to_async

from durable_state.errors import DurableStateError

from .audience import Audience, Sight
from .frame_cache import SharedFrames
from .frames import FROM_START, Item, ItemHeaders, control, encode_frame, encode_frames, group_txids
from .hub import Hub
from .log import FeedTxid, LoggedChange, LoggedEntry
from .rows import PAGE_ROWS, page, page_of_keys, rows_by_key
from .showing import shown_value

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
        self._audience = audience
        self._renew = renew
        self._revision = audience.resume(offset)
        self._shown: dict[str, set[str]] = {}
        """Of narrowed types: the keys that the client holds."""
        self._told: list[FeedTxid] = []
        """Of a narrowed audience: the entry's transactions that it may know of."""

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
        self._shown = {
            name: set() for name, sight in self._audience.sights.items() if sight.narrowed
        }
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
            self._shown[name].update(sight.mapping.key_of(row) for row in rows)
        items = [_item(name, sight, row, "insert") for row in rows]
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
            return await database_sync_to_async(self._render)(entry, start, newest)

        if self._audience.narrowed:
            return await read()
        name = (entry.revision, self._audience.signature, start, newest)
        if self._asks_for_rows(entry, start):
            return await self._hub.shared.wait_for(name, read)
        return self._hub.shared.get(name, lambda: self._render(entry, start, newest))

    def _asks_for_rows(self, entry: LoggedEntry, start: int) -> bool:
        """Whether the part of the entry cannot be rendered without the database.

        For an audience that sees all rows of its types.
        """
        seen = [each for each in entry.changes[start : start + PAGE_ROWS] if self._wants(each)]
        if seen or start:
            return any(map(_needs_row, seen))
        return any(map(self._wants, entry.txids))

    def _render(self, entry: LoggedEntry, start: int, newest: bool) -> SharedFrames:
        """The frames of a part of an entry.

        Only its last one moves the token: who leaves in between gets the whole entry again.

        Of an entry that asks for a snapshot they tell the transactions, and move nothing.
        """
        told = self._visible_txids(entry, start)
        items = self._items(entry.changes[start : start + PAGE_ROWS])
        if told and not items and start == 0:
            # Refused, parked, or nothing new: told all the same.
            as_it_is = self._as_it_is(told[0])
            items = [] if as_it_is is None else [as_it_is]
        _tell(items, list(dict.fromkeys(each.txid for each in told)), first=start == 0)

        last = start + PAGE_ROWS >= len(entry.changes) and not entry.snapshot
        before = self._audience.token(entry.revision - 1)
        after = self._audience.token(entry.revision) if last else before
        texts = encode_frames(items, before, after, last and newest and entry.up_to_date)
        return SharedFrames(texts, not items)

    def _items(self, changes: Sequence[LoggedChange]) -> list[Item]:
        """What the subscriber sees of the changes, in their order."""
        rows: dict[str, dict[str, Any]] = {}
        for name, sight in self._audience.sights.items():
            mine = [each for each in changes if each.type == name and sight.wants(each.key)]
            keys = [each.key for each in mine if sight.narrowed or _needs_row(each)]
            rows[name] = rows_by_key(sight.mapping, sight.rows, keys) if keys else {}
        seen = [
            self._item_of(self._audience.sights[each.type], each, rows[each.type])
            for each in changes
            if self._wants(each)
        ]
        return [item for item in seen if item is not None]

    def _wants(self, told: LoggedChange | FeedTxid) -> bool:
        sight = self._audience.sights.get(told.type)
        return sight is not None and sight.wants(told.key)

    def _item_of(self, sight: Sight, change: LoggedChange, rows: dict[str, Any]) -> Item | None:
        return (
            self._narrowed(sight, change, rows) if sight.narrowed else _change(sight, change, rows)
        )

    def _visible_txids(self, entry: LoggedEntry, start: int) -> list[FeedTxid]:
        """The transactions of those entities that the subscriber sees, or saw until now.

        Looked up before the entry's first part is rendered, which forgets what is shown no more.
        """
        sights = self._audience.sights
        if not self._audience.narrowed:
            return [each for each in entry.txids if self._wants(each)]
        if start == 0:
            known: set[tuple[str, str]] = set()
            for name, sight in sights.items():
                keys = {each.key for each in entry.txids if each.type == name}
                keys = set(filter(sight.wants, keys))
                if sight.narrowed:
                    held = keys & self._shown[name]
                    keys = held | rows_by_key(sight.mapping, sight.rows, keys - held).keys()
                known.update((name, key) for key in keys)
            self._told = [each for each in entry.txids if (each.type, each.key) in known]
        return self._told

    def _as_it_is(self, told: FeedTxid) -> Item | None:
        """An item that changes nothing: what the entity is now, to carry a transaction's id."""
        sight = self._audience.sights[told.type]
        rows = rows_by_key(sight.mapping, sight.rows, [told.key])
        return self._item_of(sight, LoggedChange(told.type, told.key, "update"), rows)

    def _narrowed(self, sight: Sight, change: LoggedChange, rows: dict[str, Any]) -> Item | None:
        shown = self._shown[change.type]
        if change.key in rows:
            shown.add(change.key)
            return _item(change.type, sight, rows[change.key], "update")
        if change.key in shown:
            shown.discard(change.key)
            return Item(type=change.type, key=change.key, headers=ItemHeaders(operation="delete"))
        return None

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
        self._audience = audience
        if changed:
            self._revision = None
        if self._revision is None:
            return
        for name, sight in audience.sights.items():
            if sight.narrowed:
                async for text in self._difference(name, sight, self._revision):
                    yield text

    async def _difference(self, name: str, sight: Sight, revision: int) -> AsyncIterator[str]:
        shown, seen = self._shown[name], set[str]()
        token, up_to_date = (
            self._audience.token(revision),
            self._hub.up_to_date and revision == self._hub.revision,
        )
        after: Any = None
        while True:
            keys, after = await database_sync_to_async(page_of_keys)(
                sight.mapping, sight.asked, after
            )
            items = await database_sync_to_async(self._inserts)(
                name, sight, [key for key in keys if key not in shown and sight.wants(key)]
            )
            for text in encode_frames(items, token, token, up_to_date) if items else ():
                yield text
            seen.update(keys)
            if after is None:
                break
        gone = [
            Item(type=name, key=key, headers=ItemHeaders(operation="delete"))
            for key in shown - seen
        ]
        self._shown[name] = seen
        for start in range(0, len(gone), PAGE_ROWS):
            yield encode_frame(gone[start : start + PAGE_ROWS], token, up_to_date)

    def _inserts(self, name: str, sight: Sight, keys: list[str]) -> list[Item]:
        return [
            _item(name, sight, row, "insert")
            for row in rows_by_key(sight.mapping, sight.rows, keys).values()
        ]


def _tell(items: list[Item], txids: list[str], *, first: bool) -> None:
    """Has the items of one part of an entry tell the entry's transactions.

    One is in the headers of each item; several are in those of the entry's first items, of which
    the last is repeated where they are too many for the items.
    """
    if len(txids) == 1:
        for item in items:
            item.headers.txid = txids[0]
    elif txids and items and first:
        groups = group_txids(txids)
        items += [items[-1].repeated() for _ in groups[len(items) :]]
        for item, group in zip(items, groups, strict=False):
            item.headers.txids = group


def _needs_row(change: LoggedChange) -> bool:
    return change.operation != "delete" and change.value is msgspec.UNSET


def _item(name: str, sight: Sight, row: Any, operation: str) -> Item:
    """The row as an item; a delete, where it cannot be shown."""
    key, value = sight.mapping.key_of(row), shown_value(sight.mapping, row)
    if value is None:
        return Item(type=name, key=key, headers=ItemHeaders(operation="delete"))
    return Item(
        type=name,
        key=key,
        value=msgspec.Raw(sight.only(value)),
        headers=ItemHeaders(operation=operation),
    )


def _change(sight: Sight, change: LoggedChange, rows: dict[str, Any]) -> Item:
    if change.operation != "delete" and change.value is not msgspec.UNSET:
        return Item(
            type=change.type,
            key=change.key,
            value=change.value
            if sight.fields is None
            else msgspec.Raw(sight.only(bytes(change.value))),
            headers=ItemHeaders(operation="update"),
        )
    if change.operation != "delete" and change.key in rows:
        return _item(change.type, sight, rows[change.key], "update")
    return Item(type=change.type, key=change.key, headers=ItemHeaders(operation="delete"))
