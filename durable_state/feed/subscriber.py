"""One subscriber: it gets a snapshot if it needs one, then what each commit changed.

While its socket accepts each frame at once, its group sends to it. Otherwise it catches up at its
own pace, in a task. A slow subscriber holds one frame in memory.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Hashable
from typing import Any

from .audience import Audience
from .frames import Frame, encode_frame
from .group import Group, Step
from .hub import Hub
from .narrowed_group import NarrowedGroup
from .outage import DATABASE_AWAY, Outage
from .sending import ClientGone, Rest

__all__ = ["Subscriber"]


class Subscriber:
    """Sends the frames that keep a client's state equal to the rows its audience may see.

    ``renew`` returns the current audience (None: access was withdrawn). It is called every few
    seconds, once for all subscribers with the same ``renewal`` (None: for this one alone).
    ``offset`` is the token of the last frame that the client saw, "" if it saw none. ``follower``
    names whose it is, as in ``subscribe``.
    """

    __slots__ = (
        "__weakref__",
        "_came_with",
        "_ended",
        "_hub",
        "_task",
        "audience",
        "follower",
        "group",
        "is_sending",
        "place",
        "renew",
        "renewal",
        "send",
    )

    def __init__(
        self,
        hub: Hub,
        audience: Audience,
        renew: Callable[[], Awaitable[Audience | None]],
        offset: str = "",
        *,
        follower: str = "",
        renewal: Hashable = None,
    ) -> None:
        self.audience = audience
        self.renew = renew
        self.renewal = self if renewal is None else renewal
        self.follower = follower
        self.place: int | None = None
        self._came_with = audience.resume(offset)
        self.is_sending = False
        """Whether the client has yet to accept a frame."""
        self._hub = hub
        self.group: Group | None = None
        self.send: Callable[[Frame], Awaitable[Any]]
        self._task: asyncio.Task[None] | None = None
        self._ended: Callable[[Exception], Any] | None = None

    def start(
        self, send: Callable[[Frame], Awaitable[Any]], ended: Callable[[Exception], Any]
    ) -> None:
        """Starts sending.

        ``send`` is called with one frame at a time, each after the one before was accepted. It must
        not depend on the task it runs in (no ``asyncio.timeout``). ``ended`` is called once if
        anything other than ``stop`` ends the subscriber: with ClientGone if ``send`` raises, with
        StreamRemoved, AccessWithdrawn, or whatever went wrong.
        """
        self.send, self._ended = send, ended
        self._task = asyncio.create_task(self._arrive())

    async def stop(self) -> None:
        """Stops sending, without calling ``ended``."""
        self._ended = None
        task = self._leave()
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    async def frames(self) -> AsyncGenerator[Frame, None]:
        """Yields the same frames. Raises: what ``ended`` would be called with."""
        found: asyncio.Queue[Frame | Exception] = asyncio.Queue()
        room = asyncio.Semaphore()

        async def send(frame: Frame) -> None:
            await room.acquire()
            found.put_nowait(frame)

        self.start(send, found.put_nowait)
        try:
            while True:
                frame = await found.get()
                if isinstance(frame, Exception):
                    raise frame
                room.release()
                yield frame
        finally:
            await self.stop()

    # Called by its group and by the renewals

    def catch_up(self, begun: Rest | None = None, *, is_mid_commit: bool = False) -> None:
        """Lets it catch up from its place, after finishing the send that was begun."""
        if self.group is not None and self._task is None:
            self.group.pause(self)
            self._task = asyncio.create_task(self._catch_up(begun, is_mid_commit=is_mid_commit))

    def end(self, error: Exception) -> None:
        """Ends it, and reports why."""
        task, ended = self._leave(), self._ended
        if task is not None and task is not asyncio.current_task():
            task.cancel()
        if ended is not None:
            self._ended = None
            ended(error)

    def update_audience(self, audience: Audience) -> None:
        """Takes the newest answer of the policy.

        If it sees something else now, it joins another group and gets a snapshot.
        """
        if self.group is None:
            return
        self.audience = audience
        if self._group_name() == self.group.name:
            self.group.renew(audience)
            return
        self.start_anew()

    def start_anew(self) -> None:
        """Joins its group again, beginning with a snapshot."""
        self._leave_group()
        self._join()
        self.place = None
        self.catch_up()

    # On its own

    async def _arrive(self) -> None:
        try:
            await self._hub.refresh()
            token, self._came_with = self._came_with, None
            if token is not None and await self._hub.knows(token.revision, token.stamp):
                self.place = token.revision
            self._join()
            if self.place is not None and self.place == self._hub.revision:
                here = self.audience.token(self.place, self._hub.stamp)
                await self._wait(self.send(encode_frame([], here, self._hub.up_to_date)))
        except Exception as error:
            self.end(error)
        else:
            await self._catch_up()

    async def _catch_up(self, begun: Rest | None = None, *, is_mid_commit: bool = False) -> None:
        """Finishes what was begun, then sends what it lacks until its group can send to it."""
        outage = Outage(self._hub.name)
        try:
            if begun is not None:
                await self._wait(begun)
            # In the middle of a commit, the group would begin it again, and might wait again.
            while (group := self.group) is not None and (is_mid_commit or not group.admit(self)):
                is_mid_commit = False
                steps = group.snapshot() if self.place is None else group.steps(self.place)
                try:
                    await self._take_all(steps, group)
                    outage.end()
                except DATABASE_AWAY as error:
                    await outage.wait(error)
        except Exception as error:
            self.end(error)
        else:
            self._task = None

    async def _take_all(self, steps: AsyncGenerator[Step, None], group: Group) -> None:
        """Sends the steps, as long as they belong to its group."""
        async with contextlib.aclosing(steps):
            async for step in steps:
                if not await self._take(step, group):
                    break

    async def _take(self, step: Step, group: Group) -> bool:
        """Sends a step; returns whether it still belongs to the group afterwards."""
        for frame in step.frames:
            if self.group is not group:
                return False
            await self._wait(self.send(frame))
        if self.group is not group:
            return False
        self.place = step.place
        return True

    async def _wait(self, sending: Awaitable[Any]) -> None:
        self.is_sending = True
        try:
            await sending
        except Exception as error:
            raise ClientGone.because(error) from error
        finally:
            self.is_sending = False

    # Groups

    def _group_name(self) -> Hashable:
        audience = self.audience
        if not audience.is_personal:
            return audience.signature
        return audience.signature, self if audience.name is None else audience.name

    def _join(self) -> None:
        groups: dict[Hashable, Group] = self._hub.groups
        name = self._group_name()
        group = groups.get(name)
        if group is None:
            follower = self.follower or f"somebody {id(self)}"
            group = groups[name] = (
                NarrowedGroup(name, self._hub, self.audience, follower)
                if self.audience.narrowed
                else Group(name, self._hub, self.audience)
            )
            if self.audience.is_personal:
                group.follower = follower  # others wait for nothing that is read for this one
        self.group = group
        group.members.add(self)

    def _leave(self) -> asyncio.Task[None] | None:
        """Leaves its group; returns its task, if one is running."""
        self._leave_group()
        self.place = None
        task, self._task = self._task, None
        return task

    def _leave_group(self) -> None:
        group, self.group = self.group, None
        if group is not None:
            group.leave(self)
            groups: dict[Hashable, Group] = self._hub.groups
            if not group.members and groups.get(group.name, group) is group:
                groups.pop(group.name, None)
