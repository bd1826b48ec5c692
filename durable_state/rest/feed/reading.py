"""Reads the feed for one reader: pages of a snapshot, then what each commit changed.

Everything here asks the database and waits for nothing else.
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
"""Bytes of values in one answer, unless a single commit, or row, has more."""
COMPARED_SECONDS = 60
"""Seconds at most after which a row that left, or entered, what a reader may see is told without
a commit.
"""
NEW_ROWS = 10_000
"""Rows that enter without a commit beyond which the reader starts anew."""


class OffsetGone(APIException):
    """What follows the offset is no longer known."""

    status_code = status.HTTP_410_GONE
    default_detail = (
        "What follows this offset is no longer known here: it was pruned, or you see something"
        " else of the stream by now. Start again from offset=-1, with an empty state."
    )
    default_code = "offset_gone"


@dataclass
class Answer:
    """Some of what follows an offset."""

    next: Offset
    parts: list[str] = field(default_factory=list)
    """Encoded items, one or more in each, with commas between them."""
    count: int = 0
    """How many items they are."""
    up_to_date: bool = False
    """Whether there is nothing more by now."""
    closed: bool = False
    """Whether there never will be."""

    @property
    def size(self) -> int:
        """Characters."""
        return sum(map(len, self.parts))

    def add(self, frames: SharedFrames) -> None:
        """Adds what ``encoded`` made."""
        if not frames.blank:
            self.parts += frames.texts
            self.count += frames.last


def encoded(items: list[Item]) -> SharedFrames:
    """The items as one part of an answer; ``last`` is their number."""
    text = encode_items(items)[1:-1].decode()
    return SharedFrames((Frame(text),), not items, len(items))


class Reading:
    """One reader of one stream. ``reader`` names who it is."""

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
        """Where a reader that comes with this offset stands.

        Raises: ParseError, OffsetGone.
        """
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
        """The next page, or the next commits; nothing where there is none. Raises: OffsetGone."""
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
        """What these entries tell, as far as one answer holds them.

        ``known`` are those that are rendered already, by revision. Raises: OffsetGone.
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
                # That was what is gone; all rows that are there follow.
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
        """What the entry becomes for this reader."""
        return encoded(self._rendering.messages(entry))

    def asks_for_rows(self, entry: log.LoggedEntry) -> bool:
        """Whether ``render`` needs the database."""
        starts = range(0, max(1, len(entry.changes)), PAGE_ROWS)
        return any(self._rendering.asks_for_rows(entry, start) for start in starts)

    def is_due(self, offset: Offset) -> bool:
        """Whether narrowed rows are to be compared."""
        return self.audience.narrowed and offset.number != _minute()

    def renew(self, stream: Stream, audience: Audience) -> bool:
        """Takes stream and audience as they are now; whether that is still the same feed."""
        if _signature(stream, audience, self._reader) != self.signature:
            return False
        self.stream = stream
        self.audience = self._rendering.audience = audience
        return True

    def tail(self) -> Answer:
        """Nothing, at the end."""
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
            # Not compared yet: after a switch, rows may be held that are seen no more.
            answer.next = Offset(offset.revision, offset.stamp, self.signature)
            if kept:
                self._load()  # the other pages' too
        return self._finish(answer, self.stream.revision)

    def _rows(self, sight: Sight, place: Place, room: int) -> tuple[list[Item], str | None]:
        """Rows as inserts, and after which key the next ones come (None: those were all)."""
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
        """What narrowed rows gained and lost without a commit."""
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
        """Behind that commit."""
        number = _minute() if self.audience.is_personal else 0
        return Offset(revision, stamp, self.signature, None, number)

    def _is_known(self, offset: Offset) -> bool:
        """Whether the database still has the commit that the offset stands behind."""
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
        """Whether nothing comes any more: what is parked may still be shown."""
        stream = self.stream
        if stream.status != Status.CLOSED:
            return False
        return not ParkedChange.objects.using(stream.using).filter(stream=stream).exists()

    # What is held of narrowed types.

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
        """Keeps what a page has shown, beside what those before it have."""
        if not self.audience.is_personal:
            return ""
        added = {name: keys for name, keys in self._rendering.holding().items() if keys}
        if added or not self._held:
            self._held = held.keep(self.stream, self._reader, added, self._held)
        return self._held

    def _keep(self) -> str:
        """Keeps what the reader holds once it has the answer; returns its name."""
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
    """Names the stream, and what the reader sees of it; who it is, where its rows are narrowed."""
    parts = [stream_identity(stream), audience.signature, reader if audience.is_personal else ""]
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=8).hexdigest()
