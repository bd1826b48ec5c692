"""Turns a log entry into what one reader gets: items, and the transactions they name.

Shared by the websocket and the feed endpoint. Everything here may query the database, and waits
for nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from .audience import Audience, Sight
from .frame_cache import SharedFrames
from .frames import Item, ItemHeaders, encode_frames, group_txids
from .log import FeedTxid, LoggedChange, LoggedEntry
from .rows import PAGE_ROWS, all_keys, rows_by_key
from .showing import shown_value

__all__ = ["Rendering", "delete_item", "row_item"]


UNASKED_KEYS = 10_000
"""Keys remembered of each narrowed type that the reader did not ask for.

Of a row beyond them, the reader is not told the transaction with which it goes.
"""


class Rendering:
    """Renders entries for one audience, PAGE_ROWS changes at a time."""

    def __init__(self, audience: Audience) -> None:
        self.audience = audience
        self.shown: dict[str, set[str]] = {}
        """The keys that the reader holds, for narrowed types."""
        self.unasked: dict[str, set[str]] | None = None
        """The keys the reader may see but did not ask for, for narrowed types. It is told of their
        transactions. None if they have not been listed yet.
        """
        self._told: tuple[int, list[FeedTxid]] = (-1, [])
        """A revision, and the transactions in its entry that a narrowed audience may know of."""

    def forget(self) -> None:
        """Forgets what the reader holds, because it gets a snapshot next."""
        self.shown = {name: set() for name, sight in self.audience.sights.items() if sight.narrowed}
        self.unasked = None

    def list_unasked(self) -> dict[str, set[str]]:
        """The keys the reader may see but did not ask for, UNASKED_KEYS of each type at most.

        Listed on first use.
        """
        if self.unasked is None:
            self.unasked = {
                name: set(all_keys(sight.mapping, sight.rows, UNASKED_KEYS))
                for name, sight in self.audience.known.items()
                if sight.narrowed and self._is_unasked(name)
            }
        return self.unasked

    def holding(self) -> dict[str, set[str]]:
        """What is known of the reader's rows of narrowed types, for ``take_up``."""
        return {f"+{name}": set(keys) for name, keys in self.shown.items()} | {
            f"-{name}": set(keys) for name, keys in self.list_unasked().items()
        }

    def take_up(self, holding: dict[str, set[str]]) -> None:
        """Continues with a reader from what ``holding`` returned; without it, from no rows."""
        known = self.audience.known
        narrowed = [name for name, sight in known.items() if sight.narrowed]
        self.shown = {
            name: holding.get(f"+{name}", set())
            for name in narrowed
            if name in self.audience.sights
        }
        self.unasked = {
            name: holding.get(f"-{name}", set()) for name in narrowed if self._is_unasked(name)
        }

    def _is_unasked(self, name: str) -> bool:
        """Whether the reader did not ask for all entities of the type."""
        return name in self.audience.beside or self.audience.sights[name].keys is not None

    def asks_for_rows(self, entry: LoggedEntry, start: int) -> bool:
        """Whether rendering this part of the entry needs the database.

        Only for audiences that see all rows of the types they asked for.
        """
        if self.audience.is_personal and self.unasked is None:
            return True  # a reader that resumes has had no snapshot, with which they are listed
        beside = {name for name, sight in self.audience.beside.items() if sight.narrowed}
        if beside:
            told = {each.type for each in entry.txids} | {each.type for each in entry.changes}
            if beside & told:
                return True
        changes = [] if entry.snapshot else entry.changes[start : start + PAGE_ROWS]
        seen = [each for each in changes if self._wants(each)]
        if seen or start:
            return any(map(_needs_row, seen))
        return any(map(self._wants, entry.txids))

    def frames(self, entry: LoggedEntry, start: int, newest: bool) -> SharedFrames:
        """The frames for one part of an entry.

        Only the last frame moves the token, so a reader who leaves before it gets the whole entry
        again. If the entry asks for a snapshot, the frames name its transactions only, and the
        token stays.
        """
        told = self._visible_txids(entry, start)
        changes = [] if entry.snapshot else entry.changes[start : start + PAGE_ROWS]
        items = self._items(changes)
        if told and not items and start == 0:
            # Refused, parked, or nothing new: told all the same.
            items = [self._carrier(told)]
        _tell(items, list(dict.fromkeys(each.txid for each in told)), first=start == 0)

        last = start + PAGE_ROWS >= len(entry.changes) and not entry.snapshot
        before = self.audience.token(entry.revision - 1)
        after = self.audience.token(entry.revision, entry.stamp) if last else before
        texts = encode_frames(items, before, after, last and newest and entry.up_to_date)
        return SharedFrames(texts, not items)

    def messages(self, entry: LoggedEntry) -> list[Item]:
        """The whole entry as messages with at most one transaction each, as reference clients
        expect. If the entry asks for a snapshot, only its deletions.
        """
        told = self._visible_txids(entry, 0)
        items = self._items(entry.changes)
        if told and not items:
            items = [self._carrier(told)]
        _tell_each(items, told)
        return items

    def inserts(self, name: str, sight: Sight, keys: Iterable[str]) -> list[Item]:
        """The rows of these entities as inserts."""
        return [
            row_item(name, sight, row, "insert")
            for row in rows_by_key(sight.mapping, sight.rows, keys).values()
        ]

    def _items(self, changes: Sequence[LoggedChange]) -> list[Item]:
        """The changes as the reader sees them, in order."""
        rows: dict[str, dict[str, Any]] = {}
        for name, sight in self.audience.sights.items():
            mine = [each for each in changes if each.type == name and sight.wants(each.key)]
            keys = [each.key for each in mine if sight.narrowed or _needs_row(each)]
            rows[name] = rows_by_key(sight.mapping, sight.rows, keys) if keys else {}
        seen = [
            self._item_of(self.audience.sights[each.type], each, rows[each.type])
            for each in changes
            if self._wants(each)
        ]
        return [item for item in seen if item is not None]

    def _wants(self, told: LoggedChange | FeedTxid) -> bool:
        sight = self.audience.sights.get(told.type)
        return sight is not None and sight.wants(told.key)

    def _item_of(self, sight: Sight, change: LoggedChange, rows: dict[str, Any]) -> Item | None:
        return (
            self._narrowed(sight, change, rows) if sight.narrowed else _change(sight, change, rows)
        )

    def _visible_txids(self, entry: LoggedEntry, start: int) -> list[FeedTxid]:
        """The transactions about entities that the reader may see, or could see until now.

        Must be called before the entry's first part is rendered, which forgets rows that are gone.
        """
        known = self.audience.known
        if not self.audience.is_personal:
            return [each for each in entry.txids if each.type in known]
        revision, told = self._told
        if start == 0 or revision != entry.revision:  # another one's was rendered in between
            seen: set[tuple[str, str]] = set()
            for name, sight in known.items():
                keys = {each.key for each in entry.txids if each.type == name}
                if sight.narrowed:
                    keys = self._seen(name, sight, keys, entry.changes)
                seen.update((name, key) for key in keys)
            told = [each for each in entry.txids if (each.type, each.key) in seen]
            self._told = entry.revision, told
        return told

    def _seen(
        self, name: str, sight: Sight, keys: set[str], changes: Sequence[LoggedChange]
    ) -> set[str]:
        """The keys among these whose rows the reader may see, or could see until now."""
        unasked = self.list_unasked().get(name)
        before = self.shown.get(name, set()) | (unasked or set())
        changed = set[str]()
        if unasked is not None:
            changed = {each.key for each in changes if each.type == name}
        now = rows_by_key(sight.mapping, sight.rows, keys | changed).keys()
        if unasked is not None:
            unasked -= changed - now
            unasked |= changed & now
            while len(unasked) > UNASKED_KEYS:
                unasked.pop()
        return keys & (before | now)

    def _carrier(self, told: Sequence[FeedTxid]) -> Item:
        """An item that only carries transactions: an entity as the reader already holds it."""
        wanted = next(filter(self._wants, told), None)
        if wanted is None:  # None that the reader holds: it is as absent as it was.
            return delete_item(told[0].type, told[0].key)
        sight = self.audience.sights[wanted.type]
        rows = rows_by_key(sight.mapping, sight.rows, [wanted.key])
        change = LoggedChange(wanted.type, wanted.key, "update")
        return self._item_of(sight, change, rows) or delete_item(wanted.type, wanted.key)

    def _narrowed(self, sight: Sight, change: LoggedChange, rows: dict[str, Any]) -> Item | None:
        shown = self.shown[change.type]
        if change.key in rows:
            shown.add(change.key)
            return row_item(change.type, sight, rows[change.key], "update")
        if change.key in shown:
            shown.discard(change.key)
            return delete_item(change.type, change.key)
        return None


def row_item(name: str, sight: Sight, row: Any, operation: str) -> Item:
    """The row as an item; a delete if the row cannot be shown."""
    key, value = sight.mapping.key_of(row), shown_value(sight.mapping, row)
    if value is None:
        return delete_item(name, key)
    return Item(
        type=name,
        key=key,
        value=msgspec.Raw(sight.only(value)),
        headers=ItemHeaders(operation=operation),
    )


def delete_item(name: str, key: str) -> Item:
    """An item that deletes the entity."""
    return Item(type=name, key=key, headers=ItemHeaders(operation="delete"))


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
        return row_item(change.type, sight, rows[change.key], "update")
    return delete_item(change.type, change.key)


def _needs_row(change: LoggedChange) -> bool:
    return change.operation != "delete" and change.value is msgspec.UNSET


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


def _tell_each(items: list[Item], told: Sequence[FeedTxid]) -> None:
    """Has each of the transactions named by an item: by one of its entity where that can be.

    A single one is named by all of them. The smallest item is repeated where they are too few.
    """
    txids = list(dict.fromkeys(each.txid for each in told))
    if len(txids) == 1:
        for item in items:
            item.headers.txid = txids[0]
    if len(txids) <= 1:
        return

    own = {(each.type, each.key): each.txid for each in told}
    waiting = dict.fromkeys(txids)
    for item in items:
        item.headers.txid = own.get((item.type, str(item.key)), "")
        waiting.pop(item.headers.txid, None)
    spare = [item for item in reversed(items) if not item.headers.txid]
    smallest = min(items, key=lambda item: item.size)
    for txid in waiting:
        if not spare:
            spare.append(smallest.repeated())
            items += spare
        spare.pop().headers.txid = txid
