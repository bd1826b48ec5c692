"""Reads the feed for one reader: the pages of a snapshot, then the changes of each commit.

Everything here asks the database, and waits for nothing else.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from rest_framework import status
from rest_framework.exceptions import APIException, ParseError

from durable_state.conversion.keys import key_text, key_value
from durable_state.feed import Audience, Sight, log
from durable_state.feed.frame_cache import SharedFrames
from durable_state.feed.frames import Frame, Item, encode_items, stream_identity
from durable_state.feed.rendering import Rendering, delete_item, row_item
from durable_state.feed.rows import PAGE_ROWS, all_keys, page
from durable_state.models import FeedEntry, ParkedChange, Status, Stream

from . import held
from .offset import NOW, START, Offset, Place

__all__ = ["Answer", "OffsetGone", "Reading"]

ANSWER_BYTES = 1024 * 1024
"""The size of one answer's values in bytes, unless a single commit or row is larger."""
COMPARED_SECONDS = 60
"""The longest, in seconds, until a reader learns of rows that became visible or invisible without a
commit.
"""
NEW_ROWS = 10_000
"""If more rows than this become visible without a commit, the reader starts over."""


class OffsetGone(APIException):
    """What follows the offset is no longer available."""

    status_code = status.HTTP_410_GONE
    default_detail = (
        "What follows this offset is no longer known here: it was pruned, or you see something"
        " else of the stream by now. Start again from offset=-1, with an empty state."
    )
    default_code = "offset_gone"


@dataclass
class Answer:
    """A part of what follows an offset."""

    next: Offset
    parts: list[str] = field(default_factory=list)
    """Encoded items, joined by commas; each text holds one or more."""
    count: int = 0
    """The number of items."""
    up_to_date: bool = False
    """Whether there is nothing more for now."""
    closed: bool = False
    """Whether there will never be more."""

    @property
    def size(self) -> int:
        """The size in characters."""
        return sum(map(len, self.parts))

    def add(self, frames: SharedFrames) -> None:
        """Adds encoded items."""
        if not frames.blank:
            self.parts += frames.texts
            self.count += frames.last


def encoded(items: list[Item]) -> SharedFrames:
    """The items as one part of an answer; ``last`` is their number."""
    text = encode_items(items)[1:-1].decode()
    return SharedFrames((Frame(text),), not items, len(items))


class Reading:
    """One reader of one stream; ``reader`` names who it is."""

    def __init__(self, stream: Stream, audience: Audience, reader: str) -> None:
        self.stream = stream
        self.audience = audience
        self._reader = reader
        self._rendering = Rendering(audience)
        self._held = ""
        self._steps = 0
        self._kept: held.HeldKeys = {}
        self.signature = _signature(stream, audience, reader)
        self.identity = f"{reader} {self.signature}"

    def begin(self, text: str) -> Offset:
        """The position of a reader that sends this offset. Raises: ParseError, OffsetGone."""
        stream = self.stream
        if text == NOW:
            self._rendering.forget()
            for name, shown in self._rendering.shown.items():
                sight = self.audience.sights[name]
                shown.update(filter(sight.wants, all_keys(sight.mapping, sight.rows)))
            return self._behind(stream.revision, log.stamp_of(stream.logged_at))
        if text == START:
            first = next(iter(self.audience.sights), "")
            self._rendering.forget()
            offset = self._behind(stream.revision, log.stamp_of(stream.logged_at))
            return offset._replace(place=Place(first, None), number=0)

        offset_or_none = Offset.parse(text)
        if offset_or_none is None:
            raise ParseError(
                "This is not an offset of this feed: send Stream-Next-Offset back unchanged."
            )
        offset = offset_or_none
        if offset.signature != self.signature or not self._is_known(offset):
            raise OffsetGone
        self._take_up(offset)
        return offset

    def read(self, offset: Offset) -> Answer:
        """The next page or the next commits; empty if there are none. Raises: OffsetGone."""
        if offset.place is not None:
            return self._page(offset, offset.place)
        entries: Sequence[log.LoggedEntry] = ()
        if offset.revision < self.stream.revision:
            entries = log.entries(self.stream.pk, offset.revision, self.stream.using)
            if not entries:
                raise OffsetGone
        return self.follow(offset, entries, self.stream.revision)

    def follow(
        self,
        offset: Offset,
        entries: Sequence[log.LoggedEntry],
        newest: int,
        known: Mapping[int, SharedFrames] = MappingProxyType({}),
    ) -> Answer:
        """The contents of these entries, as many as fit in one answer.

        ``known`` holds entries that were rendered already, by revision. Raises: OffsetGone.
        """
        answer = Answer(offset)
        if self.is_due(offset):
            answer.add(encoded(self._compared()))
            answer.next = offset._replace(number=_minute())
        for entry in entries:
            if not entry.is_listed:
                raise OffsetGone
            answer.add(known.get(entry.revision) or self.render(entry))
            if entry.snapshot:
                # These were the rows that are gone; all current rows follow.
                first = Place(next(iter(self.audience.sights), ""), None)
                answer.next = Offset(entry.revision, entry.stamp, self.signature, first)
                if self.audience.is_personal:
                    answer.next = answer.next._replace(held=self._keep())
                break
            answer.next = answer.next._replace(revision=entry.revision, stamp=entry.stamp)
            if answer.size > ANSWER_BYTES or answer.count >= PAGE_ROWS:
                break
        return self._finish(answer, newest)

    def render(self, entry: log.LoggedEntry) -> SharedFrames:
        """The entry as this reader gets it."""
        return encoded(self._rendering.messages(entry))

    def asks_for_rows(self, entry: log.LoggedEntry) -> bool:
        """Whether ``render`` needs the database."""
        starts = range(0, max(1, len(entry.changes)), PAGE_ROWS)
        return any(self._rendering.asks_for_rows(entry, start) for start in starts)

    def is_due(self, offset: Offset) -> bool:
        """Whether it is time to compare the narrowed rows."""
        return self.audience.narrowed and offset.number != _minute()

    def renew(self, stream: Stream, audience: Audience) -> bool:
        """Adopts the current stream and audience; returns whether it is still the same feed."""
        if _signature(stream, audience, self._reader) != self.signature:
            return False
        self.stream = stream
        self.audience = self._rendering.audience = audience
        return True

    def tail(self) -> Answer:
        """An empty answer at the end."""
        return self._finish(Answer(self.begin(NOW)), self.stream.revision)

    def _page(self, offset: Offset, place: Place) -> Answer:
        answer = Answer(offset)
        names = list(self.audience.sights)
        if place.type and place.type not in names:
            raise OffsetGone
        room = ANSWER_BYTES
        following: Place | None = place if place.type else None
        while following is not None and answer.count < PAGE_ROWS and room > 0:
            sight = self.audience.sights[following.type]
            items, after = self._rows(sight, following, room)
            answer.add(encoded(items))
            room -= sum(item.size for item in items)
            if after is not None:
                following = Place(following.type, after)
            else:
                later = names[names.index(following.type) + 1 :]
                following = Place(later[0], None) if later else None
        kept = self._keep_page()
        if following is not None:
            answer.next = offset._replace(place=following, number=offset.number + 1, held=kept)
        else:
            # Not compared yet: after a switch, the reader may hold rows that it may no longer
            # see.
            answer.next = Offset(offset.revision, offset.stamp, self.signature)
            if kept:
                self._load()  # the other pages' too
        return self._finish(answer, self.stream.revision)

    def _rows(self, sight: Sight, place: Place, room: int) -> tuple[list[Item], str | None]:
        """Rows as inserts, and the key after which the next page starts (None: these were the
        last).
        """
        mapping = sight.mapping
        after = None
        if place.after is not None:
            after = key_value(mapping.key, place.after, sight.rows.db)
            if after is None:
                raise OffsetGone

        def render(row: Any) -> Item | None:
            key = mapping.key_of(row)
            if not sight.wants(key):
                return None
            if sight.narrowed:
                self._rendering.shown[mapping.entity_type].add(key)
            return row_item(mapping.entity_type, sight, row, "insert")

        items, last = page(mapping, sight.asked, after, render, room)
        return items, None if last is None else key_text(mapping.key, last)

    def _compared(self) -> list[Item]:
        """The rows that became visible or invisible without a commit."""
        items: list[Item] = []
        for name, shown in self._rendering.shown.items():
            sight = self.audience.sights[name]
            seen = set(filter(sight.wants, all_keys(sight.mapping, sight.rows)))
            new = seen - shown
            if len(new) > NEW_ROWS:
                raise OffsetGone
            items += self._rendering.inserts(name, sight, sorted(new))
            items += [delete_item(name, key) for key in sorted(shown - seen)]
            shown.clear()
            shown |= seen
        return items

    def _finish(self, answer: Answer, newest: int) -> Answer:
        at = answer.next
        if self.audience.is_personal and at.place is None:
            answer.next = at = at._replace(held=self._keep())
        answer.up_to_date = at.place is None and at.revision >= newest
        answer.closed = answer.up_to_date and self.is_closed()
        return answer

    def _behind(self, revision: int, stamp: int) -> Offset:
        """The position after that commit."""
        number = _minute() if self.audience.is_personal else 0
        return Offset(revision, stamp, self.signature, None, number)

    def _is_known(self, offset: Offset) -> bool:
        """Whether the database still has the commit that the offset follows."""
        stream = self.stream
        if offset.revision == stream.revision:
            return offset.stamp == log.stamp_of(stream.logged_at)
        if offset.revision == 0:
            return offset.stamp == 0
        entries = FeedEntry.objects.using(stream.using).filter(
            stream_id=stream.pk, revision=offset.revision
        )
        written_at = entries.values_list("created_at", flat=True).first()
        return written_at is not None and log.stamp_of(written_at) == offset.stamp

    def is_closed(self) -> bool:
        """Whether nothing more can come: parked changes may still be shown."""
        stream = self.stream
        if stream.status != Status.CLOSED:
            return False
        return not ParkedChange.objects.using(stream.using).filter(stream=stream).exists()

    # What the reader holds of narrowed types.

    def _take_up(self, offset: Offset) -> None:
        self._held = offset.held
        if not self.audience.is_personal:
            return
        self._rendering.take_up({})
        if offset.place is None:
            self._load()

    def _load(self) -> None:
        found = held.load(self.stream, self._reader, self._held)
        if found is None:
            raise OffsetGone
        keys, self._steps = found
        self._rendering.take_up(keys)
        self._kept = self._rendering.holding()

    def _keep_page(self) -> str:
        """Stores the keys that a page shows, on top of those of the pages before."""
        if not self.audience.is_personal:
            return ""
        added = {name: keys for name, keys in self._rendering.holding().items() if keys}
        if added or not self._held:
            self._held = held.keep(self.stream, self._reader, added, self._held)
        return self._held

    def _keep(self) -> str:
        """Stores what the reader holds once it has the answer; returns its name."""
        now = self._rendering.holding()
        if self._held and self._kept == now:
            return self._held
        kept = self._kept
        gained = {name: keys - kept.get(name, set()) for name, keys in now.items()}
        is_lost = any(keys - now[name] for name, keys in kept.items())
        if self._held and self._steps < held.STEPS and not is_lost:
            self._held = held.keep(self.stream, self._reader, gained, self._held)
            self._steps += 1
        else:
            self._held, self._steps = held.keep(self.stream, self._reader, now), 1
        self._kept = now
        return self._held


def _minute() -> int:
    return int(time.time() // COMPARED_SECONDS)


def _signature(stream: Stream, audience: Audience, reader: str) -> str:
    """Identifies the stream and what the reader may see of it; if rows are narrowed, the reader
    too.
    """
    parts = [stream_identity(stream), audience.signature, reader if audience.is_personal else ""]
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=8).hexdigest()
