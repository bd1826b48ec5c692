"""Subscribers who share an audience: each commit is rendered once and sent to all of them.

A member is *ready* when it has everything the group has sent. Ready members need no task; the group
sends to them one after the other. A member whose socket does not accept a frame at once catches up
in a task of its own (``subscriber.py``), and is ready again afterwards.

Why: decision 68.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Hashable, Iterator
from typing import Any, NamedTuple, Protocol

from .audience import Audience, Sight
from .frame_cache import SharedFrames
from .frames import FROM_START, Frame, Item, control, encode_frame, encode_frames
from .hub import Hub
from .log import LoggedEntry
from .outage import DATABASE_AWAY, Outage
from .rendering import Rendering, row_item
from .rows import PAGE_ROWS, page
from .sending import ClientGone, Rest, begin
from .threads import run_for

__all__ = ["Group", "Member", "Step"]

SHARED_SECONDS = 2.0
"""Seconds for which subscribers who arrive together share the pages of one snapshot."""
BEHIND_COMMITS = 10_000
"""Commits a member may be behind; one that is further behind gets a snapshot instead."""
SWEEP = 100
"""Sends in a row, after which other tasks of the process get a turn."""


class Step(NamedTuple):
    """Some frames, and the place of a member that has received them (None: it needs a snapshot)."""

    frames: tuple[Frame, ...]
    place: int | None


class Member(Protocol):
    """A subscriber, as its group knows it."""

    place: int | None
    """What it has received so far; None if it needs a snapshot, or has left."""

    @property
    def group(self) -> Group | None:
        """The group that sends to it."""
        ...

    @property
    def send(self) -> Callable[[Frame], Awaitable[Any]]:
        """Sends one frame. It must not ask in which task it runs."""
        ...

    def catch_up(self, begun: Rest | None = None, *, is_mid_commit: bool = False) -> None:
        """Lets it catch up at its own pace, in a task that first finishes the send that was begun.

        ``is_mid_commit`` says that this send is one of several parts of a commit.
        """

    def end(self, error: Exception) -> None:
        """Ends it."""


class Group:
    """Members who see every row of their types.

    A place is a revision, because what follows it can be rendered from the log at any time.
    """

    def __init__(self, name: Hashable, hub: Hub, audience: Audience) -> None:
        self.name = name
        self.hub = hub
        self.rendering = Rendering(audience)
        self.follower = f"the rows of {hub.stream_name!r}, {audience.signature}"
        self.place = hub.revision
        self.members: set[Member] = set()
        self._ready: dict[Member, None] = {}
        self._sending_to: Member
        """The member that the current sweep is sending to."""
        self._serving: asyncio.Task[None] | None = None
        self._is_mid_commit = False
        """Whether the ready members have received only a part of the commit after the place."""

    @property
    def audience(self) -> Audience:
        """What the members see."""
        return self.rendering.audience

    # Members

    def leave(self, member: Member) -> None:
        """Removes a member."""
        self.members.discard(member)
        self._ready.pop(member, None)

    def pause(self, member: Member) -> None:
        """Stops sending to a member until it is admitted again."""
        self._ready.pop(member, None)

    def admit(self, member: Member) -> bool:
        """Starts sending to a member, provided that it has everything the group has sent."""
        if member.place is None:
            return False
        if not self._ready and self._serving is None:
            self._begin_at(member.place)
        if member.place < self.place or (self._is_mid_commit and member.place == self.place):
            return False
        self._ready[member] = None
        if self._has_to_serve():  # In a task, because the member's own has not ended yet.
            self._serving = asyncio.create_task(self._serve())
        return True

    def renew(self, audience: Audience) -> None:
        """Takes the newest answer of the policy, for members who still share an audience."""
        self.rendering.audience = audience

    # Sending

    def wake(self) -> None:
        """Serves the members if there is something new. Called when the revision has advanced."""
        if self._has_to_serve() and not self._serve_at_once():
            self._serving = asyncio.create_task(self._serve())

    def _has_to_serve(self) -> bool:
        return self._serving is None and bool(self.members) and self._is_behind()

    def _serve_at_once(self) -> bool:
        """Sends a single new commit without a task; returns whether it did.

        That is possible for nearly all commits of a live stream: they are small, and are rendered
        without the database.
        """
        entry = self.hub.find_newest(after=self.place)
        if entry is None or entry.snapshot or len(self._ready) > SWEEP:
            return False
        try:
            if len(self.parts(entry)) > 1 or self.rendering.asks_for_rows(entry, 0):
                return False
            frames = self._render_shared(entry, 0)
        except Exception:
            return False  # The task meets the error again, and ends the members with it.
        if frames.blank:
            return False  # The task sends one token for several of them.

        before, self.place = self.place, entry.revision
        self._sweep(list(self._ready), before, Step(frames.texts, entry.revision))
        return True

    async def _serve(self) -> None:
        outage = Outage(self.follower)
        try:
            while self.members and self._is_behind():
                try:
                    async with contextlib.aclosing(self._next()) as steps:
                        async for before, step in steps:
                            await self._send(before, step)
                    outage.end()
                except DATABASE_AWAY as error:
                    self._note_failure()
                    await outage.wait(error)
        except Exception as error:
            for member in list(self.members):
                member.end(error)
        finally:
            self._serving = None

    async def _send(self, before: int, step: Step) -> None:
        """Sends a step to every ready member."""
        ready = list(self._ready)
        for start in range(0, len(ready), SWEEP):
            if start:
                await asyncio.sleep(0)
            self._sweep(ready[start : start + SWEEP], before, step)

    def _sweep(self, members: list[Member], before: int, step: Step) -> None:
        """Sends a step to these members without waiting for any of them.

        A single coroutine sends to all of them as long as no send has to wait. When one does, its
        member takes over the coroutine, and a new one continues with the members after it.
        """
        following = iter(members)
        while (rest := begin(self._send_each(following, before, step))) is not None:
            following = iter(list(following))
            self._sending_to.catch_up(rest, is_mid_commit=step.place == before)

    async def _send_each(self, members: Iterator[Member], before: int, step: Step) -> None:
        frames, place = step
        for member in members:
            if (
                member not in self._ready
            ):  # It has left, maybe for a group whose places mean something else.
                continue
            if member.place != before:
                if place is None:
                    member.catch_up()  # It is ahead of the group, which continues elsewhere.
                continue

            self._sending_to = member
            try:
                for frame in frames:
                    if member.group is self:
                        await member.send(frame)
            except Exception as error:  # each server reports it differently
                member.end(ClientGone.because(error))
                continue
            if member.group is self:  # If the send had to wait, it may have left meanwhile.
                member.place = place
                if place is None:
                    member.catch_up()

    # What there is to send

    def _begin_at(self, place: int) -> None:
        """Called while nobody is ready: the first to come decides where the group continues."""
        self.place = place

    def _is_behind(self) -> bool:
        return self.hub.removed or (bool(self._ready) and self.place != self.hub.revision)

    def _note_failure(self) -> None:
        """What was not made is made again: it follows the same place."""

    async def _next(self) -> AsyncGenerator[tuple[int, Step], None]:
        """Yields what is new, each step with the place before it, and moves ``place`` past it."""
        async with contextlib.aclosing(self.steps(self.place)) as steps:
            async for step in steps:
                before = self.place
                # Before sending: a member that is just at this place is then not admitted, so that
                # nobody misses the step.
                self.place = self.hub.revision if step.place is None else step.place
                self._is_mid_commit = step.place == before
                yield before, step
        self._is_mid_commit = False

    async def steps(self, place: int) -> AsyncGenerator[Step, None]:
        """Yields some of what follows a place. Raises: StreamRemoved."""
        entries = await self.hub.pull(place)
        if entries is None or self.hub.revision - place > BEHIND_COMMITS:
            yield Step((), None)
            return
        if not entries:  # The database went back in time, and the others do not know yet.
            await self.hub.wait(place, 0.1)
        for entry in entries:
            parts = self.parts(entry)
            for start in parts:
                frames = await self._part(entry, start)
                last = start == parts[-1]
                # A commit without visible changes only moves the token, as the next frame does too.
                moves = last and entry is entries[-1] and not entry.snapshot
                after = None if entry.snapshot else entry.revision if last else place
                yield Step(() if frames.blank and not moves else frames.texts, after)
            if entry.snapshot:
                return
            place = entry.revision

    @staticmethod
    def parts(entry: LoggedEntry) -> range:
        """The indexes at which the separately rendered parts of an entry begin."""
        return range(0, 1 if entry.snapshot else max(1, len(entry.changes)), PAGE_ROWS)

    async def _part(self, entry: LoggedEntry, start: int) -> SharedFrames:
        if not self.rendering.asks_for_rows(entry, start):
            return self._render_shared(entry, start)
        newest = self._is_newest(entry)

        async def read() -> SharedFrames:
            return await run_for(self.follower, self.rendering.frames, entry, start, newest)

        return await self.hub.shared.wait_for(self._frames_name(entry, start), read)

    def _render_shared(self, entry: LoggedEntry, start: int) -> SharedFrames:
        """A part of an entry that is rendered without the database."""
        return self.hub.shared.get(
            self._frames_name(entry, start),
            lambda: self.rendering.frames(entry, start, self._is_newest(entry)),
        )

    def _frames_name(self, entry: LoggedEntry, start: int) -> Hashable:
        return entry.revision, self.name, start, self._is_newest(entry)

    def _is_newest(self, entry: LoggedEntry) -> bool:
        return entry.revision == self.hub.revision and not entry.snapshot

    # Snapshots

    async def snapshot(self) -> AsyncGenerator[Step, None]:
        """Yields all rows, for one member. Raises: StreamRemoved."""
        await self.hub.refresh()
        # Read before the first row, so whatever the rows below miss, or show too early, comes again
        # as a live change.
        place, revision = await self._snapshot_place()
        stamp = self.hub.stamp if revision == self.hub.revision else 0
        if self.audience.is_personal:
            await run_for(self.follower, self.rendering.list_unasked)
        audience = self.audience
        yield Step((encode_frame([control("snapshot-start")], FROM_START, False),), None)
        moment = (place, int(time.monotonic() / SHARED_SECONDS))
        for name, sight in audience.sights.items():
            after: Any = None
            while True:
                frames = await self._page(moment, name, sight, after)
                if not frames.blank:
                    yield Step(frames.texts, None)
                if frames.last is None:
                    break
                after = frames.last
        newest = revision == self.hub.revision
        end = encode_frame(
            [control("snapshot-end")],
            audience.token(revision, stamp),
            newest and self.hub.up_to_date,
        )
        yield Step((end,), place)

    async def _snapshot_place(self) -> tuple[int, int]:
        """The place and the revision from which the member continues after the snapshot."""
        return self.hub.revision, self.hub.revision

    async def _page(
        self, moment: tuple[int, int], name: str, sight: Sight, after: Any
    ) -> SharedFrames:
        async def make() -> SharedFrames:
            return await run_for(self.follower, self._read_page, name, sight, after)

        # A page that was read at this revision or later serves everyone who starts from it; not for
        # long, because `represent` may show columns that change without a commit.
        return await self.hub.shared.wait_for((moment, self.audience.signature, name, after), make)

    def _read_page(self, name: str, sight: Sight, after: Any) -> SharedFrames:
        def render(row: Any) -> Item | None:
            # The database may compare keys without case.
            is_wanted = sight.wants(sight.mapping.key_of(row))
            return row_item(name, sight, row, "insert") if is_wanted else None

        items, last = page(sight.mapping, sight.asked, after, render)
        self._note_shown(name, sight, [str(item.key) for item in items])
        return SharedFrames(encode_frames(items, FROM_START, FROM_START, False), not items, last)

    def _note_shown(self, name: str, sight: Sight, keys: list[str]) -> None:
        """Nothing to remember, since every row is shown."""
