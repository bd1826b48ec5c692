"""A group whose members see only some rows, and which remembers for all of them what it has shown.

How a commit is rendered depends on what they hold. So each step is made once, in order, and
numbered; a place is such a number. A member that falls behind gets the steps that the hub still
keeps, or else a snapshot.

Why: decision 68.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Hashable
from typing import Any

from .audience import Audience, Sight
from .frame_cache import SharedFrames
from .frames import encode_frame, encode_frames
from .group import BEHIND_COMMITS, Group, Step
from .hub import Hub
from .log import LoggedEntry
from .rendering import delete_item
from .rows import PAGE_ROWS, page_of_keys
from .threads import run_for

__all__ = ["COMPARE_SECONDS", "NarrowedGroup"]

COMPARE_SECONDS = 60.0
"""Seconds after which the shown rows are compared with the tables again, to find rows that became
visible or invisible without a commit; at once if the policy now asks a different question.
"""
COMPARE_SHARE = 10
"""A comparison is followed by a pause of at least this many times its own duration."""


class NarrowedGroup(Group):
    """Members of one audience for which the policy leaves out rows."""

    def __init__(self, name: Hashable, hub: Hub, audience: Audience, follower: str) -> None:
        super().__init__(name, hub, audience)
        self.follower = follower
        self.rendering.forget()
        self.place = 0
        self._revision = hub.revision
        """The revision up to which entries were turned into steps."""
        self._making = asyncio.Lock()
        """Held while rows are read: each row that a member gets is noted as shown before the next
        entry is looked at.
        """
        self._question_changed = False
        self._comparison_due = False
        self._has_failed = False
        """Whether it is not known for sure what its members were shown."""
        self._compare_not_before = time.monotonic()
        self._compare_from = self._compare_not_before + COMPARE_SECONDS

    def renew(self, audience: Audience) -> None:
        """Takes the newest answer of the policy, and has the rows compared when that is due."""
        self._question_changed |= audience.question != self.audience.question
        super().renew(audience)
        now = time.monotonic()
        if now >= self._compare_from or (
            self._question_changed and now >= self._compare_not_before
        ):
            self._question_changed, self._comparison_due = False, True
            self.wake()

    # What there is to send

    def _begin_at(self, place: int) -> None:
        """Does nothing, because places are the group's own numbers."""

    def _is_behind(self) -> bool:
        # Steps that nobody takes at once would have to be kept until a snapshot is through, and
        # those of many groups leave no room for that.
        is_due = self._comparison_due or self._has_failed
        is_behind = is_due or self._revision != self.hub.revision
        return self.hub.removed or (bool(self._ready) and is_behind)

    def _serve_at_once(self) -> bool:
        """Leaves it to the task, because a narrowed audience's rows have to be read."""
        return False

    async def steps(self, place: int) -> AsyncGenerator[Step, None]:
        """Yields what follows a place, as far as it is kept."""
        while place != self.place:
            place += 1
            frames = self.hub.shared.find((self, place))
            yield Step((), None) if frames is None else Step(frames.texts, place)
            if frames is None:
                return

    def _note_failure(self) -> None:
        """All members take a snapshot, because a step may have been made in part."""
        self._has_failed = True

    async def _next(self) -> AsyncGenerator[tuple[int, Step], None]:
        if self._has_failed:
            self._has_failed = False
            yield await self._forget(self.hub.revision)
        if self._comparison_due:
            async for numbered in self._compare():
                yield numbered
        entries = await self.hub.pull(self._revision)
        if entries is None or self.hub.revision - self._revision > BEHIND_COMMITS:
            yield await self._forget(self.hub.revision)
            return
        for entry in entries:
            parts = self.parts(entry)
            for start in parts:
                last = start == parts[-1]
                moves = last and entry is entries[-1] and not entry.snapshot
                async with self._making:
                    frames = await self._render(entry, start)
                    step = None if frames.blank and not moves else self._number(frames)
                    if last and not entry.snapshot:
                        self._revision = entry.revision
                if step is not None:
                    yield step
            if entry.snapshot:
                yield await self._forget(entry.revision)

    async def _render(self, entry: LoggedEntry, start: int) -> SharedFrames:
        newest = entry.revision == self.hub.revision and not entry.snapshot
        return await run_for(self.follower, self.rendering.frames, entry, start, newest)

    def _number(self, frames: SharedFrames) -> tuple[int, Step]:
        """The next step, and the place before it."""
        before = self.place
        self.place += 1
        self.hub.shared.keep((self, self.place), frames)
        return before, Step(frames.texts, self.place)

    async def _forget(self, revision: int) -> tuple[int, Step]:
        """The step after which every member takes a snapshot."""
        async with self._making:
            before = self.place
            self.place += 1  # which is not kept, so that whoever is behind takes one, too
            self._revision = revision
            self.rendering.forget()
        return before, Step((), None)

    # Snapshots

    async def _snapshot_place(self) -> tuple[int, int]:
        async with self._making:
            return self.place, self._revision

    async def _page(
        self, moment: tuple[int, int], name: str, sight: Sight, after: Any
    ) -> SharedFrames:
        async def make() -> SharedFrames:
            async with self._making:
                return await run_for(self.follower, self._read_page, name, sight, after)

        return await self.hub.shared.wait_for((self, moment, name, after), make)

    def _note_shown(self, name: str, sight: Sight, keys: list[str]) -> None:
        self.rendering.list_unasked()
        if sight.narrowed:
            self.rendering.shown[name].update(keys)

    # Rows that came or went without a commit

    async def _compare(self) -> AsyncGenerator[tuple[int, Step], None]:
        self._comparison_due = False
        began = time.monotonic()
        async with self._making:
            for name, sight in self.audience.sights.items():
                if sight.narrowed:
                    async for frames in self._difference(name, sight):
                        yield self._number(frames)
        now = time.monotonic()
        self._compare_not_before = now + COMPARE_SHARE * (now - began)
        self._compare_from = max(self._compare_not_before, now + COMPARE_SECONDS)

    async def _difference(self, name: str, sight: Sight) -> AsyncGenerator[SharedFrames, None]:
        shown, seen = self.rendering.shown[name], set[str]()
        token = self.audience.token(self._revision)
        up_to_date = self.hub.up_to_date and self._revision == self.hub.revision

        after: Any = None
        while True:
            keys, after = await run_for(
                self.follower, page_of_keys, sight.mapping, sight.asked, after
            )
            came = [key for key in keys if key not in shown and sight.wants(key)]
            items = await run_for(self.follower, self.rendering.inserts, name, sight, came)
            if items:
                yield SharedFrames(encode_frames(items, token, token, up_to_date))
            seen.update(keys)
            if after is None:
                break

        gone = [delete_item(name, key) for key in shown - seen]
        self.rendering.shown[name] = seen
        for start in range(0, len(gone), PAGE_ROWS):
            part = gone[start : start + PAGE_ROWS]
            yield SharedFrames((encode_frame(part, token, up_to_date),))
