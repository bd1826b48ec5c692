"""Those who see the same of a stream: what a commit becomes for them is made once, and sent to all.

A member is *ready* while it has everything that the group has, and no task then: the group sends to
the ready ones, one after the other. One whose socket does not take a frame at once goes on at its
own pace, in a task (``subscriber.py``), and is ready again when it has caught up.

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
from .rendering import Rendering, row_item
from .rows import PAGE_ROWS, page
from .sending import ClientGone, Rest, begin
from .threads import run_for

__all__ = ["Group", "Member", "Step"]

SHARED_SECONDS = 2.0
"""Seconds for which subscribers that arrive together share the pages of one snapshot."""
BEHIND_COMMITS = 10_000
"""Commits that a member may be behind; one that is further is moved to a snapshot."""
SWEEP = 100
"""Sends after which others in the process get a turn."""


class Step(NamedTuple):
    """Frames, and where a member is that has got them; None: a snapshot is due."""

    frames: tuple[Frame, ...]
    place: int | None


class Member(Protocol):
    """Who is sent to."""

    place: int | None
    """Where it is; None where a snapshot is due, or it has left."""

    @property
    def group(self) -> Group | None:
        """The group that sends to it."""
        ...

    @property
    def send(self) -> Callable[[Frame], Awaitable[Any]]:
        """Sends one frame. It must not ask in which task it runs."""
        ...

    def catch_up(self, begun: Rest | None = None, *, is_amid: bool = False) -> None:
        """Has it catch up in a task of its own, at its own pace, after the send that was begun.

        ``is_amid`` says that what was begun is a part of a commit that has more of them.
        """

    def end(self, error: Exception) -> None:
        """Ends it."""


class Group:
    """Members that see all rows of their types.

    A place is a revision: whatever follows one can be made at any time, from the log.
    """

    def __init__(self, name: Hashable, hub: Hub, audience: Audience) -> None:
        self.name = name
        self.hub = hub
        self.rendering = Rendering(audience)
        self.follower = f"the rows of {hub.stream_name!r}, {audience.signature}"
        self.place = hub.revision
        self.members: set[Member] = set()
        self._ready: dict[Member, None] = {}
        self._served: Member
        """To whom the sweep has come."""
        self._serving: asyncio.Task[None] | None = None
        self._is_amid = False
        """Whether the ready ones have a part of what follows the place."""

    @property
    def audience(self) -> Audience:
        """What they see."""
        return self.rendering.audience

    # Members

    def leave(self, member: Member) -> None:
        """Sends no more to it."""
        self.members.discard(member)
        self._ready.pop(member, None)

    def pause(self, member: Member) -> None:
        """Sends no more to it until it is admitted again."""
        self._ready.pop(member, None)

    def admit(self, member: Member) -> bool:
        """Sends to it from now on, if it has all that the group has."""
        if member.place is None:
            return False
        if not self._ready and self._serving is None:
            self._begin_at(member.place)
        if member.place < self.place or (self._is_amid and member.place == self.place):
            return False
        self._ready[member] = None
        self.wake()
        return True

    def renew(self, audience: Audience) -> None:
        """Takes what the policy says now, of those who see the same as before."""
        self.rendering.audience = audience

    # Sending

    def wake(self) -> None:
        """Serves the members, if there is something new."""
        if self._serving is None and self.members and self._is_behind():
            self._serving = asyncio.create_task(self._serve())

    async def _serve(self) -> None:
        try:
            while self.members and self._is_behind():
                async with contextlib.aclosing(self._next()) as steps:
                    async for before, step in steps:
                        await self._send(before, step)
        except Exception as error:
            for member in list(self.members):
                member.end(error)
        finally:
            self._serving = None

    async def _send(self, before: int, step: Step) -> None:
        """Sends a step to all who are ready."""
        ready = list(self._ready)
        for start in range(0, len(ready), SWEEP):
            if start:
                await asyncio.sleep(0)
            self._sweep(ready[start : start + SWEEP], before, step)

    def _sweep(self, members: list[Member], before: int, step: Step) -> None:
        """Sends a step to these members, and waits for none of them.

        One coroutine sends to all, as long as each send ends at once. Where one waits, the member
        takes the coroutine over, and another one goes on with those behind it.
        """
        following = iter(members)
        while (rest := begin(self._send_each(following, before, step))) is not None:
            following = iter(list(following))
            self._served.catch_up(rest, is_amid=step.place == before)

    async def _send_each(self, members: Iterator[Member], before: int, step: Step) -> None:
        frames, place = step
        for member in members:
            if member not in self._ready:  # It has left, maybe to another group's places.
                continue
            if member.place != before:
                if place is None:
                    member.catch_up()  # It is ahead of the group, which goes on elsewhere.
                continue

            self._served = member
            try:
                for frame in frames:
                    if member.group is self:
                        await member.send(frame)
            except Exception as error:  # servers tell it in their own ways
                member.end(ClientGone.because(error))
                continue
            if member.group is self:  # Where it was waited for, it may have left meanwhile.
                member.place = place
                if place is None:
                    member.catch_up()

    # What there is to send

    def _begin_at(self, place: int) -> None:
        """Nobody is ready: whoever comes first says from where on."""
        self.place = place

    def _is_behind(self) -> bool:
        return self.hub.removed or (bool(self._ready) and self.place != self.hub.revision)

    async def _next(self) -> AsyncGenerator[tuple[int, Step], None]:
        """What is new, from where on, and ``place`` beyond it."""
        async with contextlib.aclosing(self.steps(self.place)) as steps:
            async for step in steps:
                before = self.place
                # Before it is sent: who has just this place meanwhile is not admitted, so that
                # nobody is passed over.
                self.place = self.hub.revision if step.place is None else step.place
                self._is_amid = step.place == before
                yield before, step
        self._is_amid = False

    async def steps(self, place: int) -> AsyncGenerator[Step, None]:
        """Some of what follows a place. Raises: StreamRemoved."""
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
                # What changed nothing here only moves the token, which the next frame does as well.
                moves = last and entry is entries[-1] and not entry.snapshot
                after = None if entry.snapshot else entry.revision if last else place
                yield Step(() if frames.blank and not moves else frames.texts, after)
            if entry.snapshot:
                return
            place = entry.revision

    @staticmethod
    def parts(entry: LoggedEntry) -> range:
        """Where the parts of an entry begin that are rendered one by one."""
        return range(0, 1 if entry.snapshot else max(1, len(entry.changes)), PAGE_ROWS)

    async def _part(self, entry: LoggedEntry, start: int) -> SharedFrames:
        newest = entry.revision == self.hub.revision and not entry.snapshot
        name = (entry.revision, self.name, start, newest)
        if not self.rendering.asks_for_rows(entry, start):
            return self.hub.shared.get(name, lambda: self.rendering.frames(entry, start, newest))

        async def read() -> SharedFrames:
            return await run_for(self.follower, self.rendering.frames, entry, start, newest)

        return await self.hub.shared.wait_for(name, read)

    # Snapshots

    async def snapshot(self) -> AsyncGenerator[Step, None]:
        """The rows, for one member. Raises: StreamRemoved."""
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
        """(place, revision) from which on everything is sent after the snapshot."""
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
        """Nobody has to know what was shown, where all rows are."""
