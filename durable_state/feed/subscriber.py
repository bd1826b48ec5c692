"""One subscriber: a snapshot where it needs one, then what each commit changed.

As long as its socket takes each frame at once, its group sends to it; else it goes on at its own
pace, in a task, until it has caught up. A slow one holds one frame in memory.
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
from .sending import ClientGone, Rest

__all__ = ["Subscriber"]


class Subscriber:
    """Sends the frames that make, and keep, a client's state the rows that its audience may see.

    ``renew`` gives the audience as it is then (None: access was withdrawn). It is asked again every
    few seconds, once for all subscribers with the same ``renewal`` (None: for each). ``offset`` is
    the token of the last frame that the client saw, "" if it saw none. ``follower`` names whose it
    is, as in ``subscribe``.
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
        """Whether a frame is on its way that the client has not taken yet."""
        self._hub = hub
        self.group: Group | None = None
        self.send: Callable[[Frame], Awaitable[Any]]
        self._task: asyncio.Task[None] | None = None
        self._ended: Callable[[Exception], Any] | None = None

    def start(
        self, send: Callable[[Frame], Awaitable[Any]], ended: Callable[[Exception], Any]
    ) -> None:
        """Begins to send.

        ``send`` is called with one frame after the other, each when the one before was taken. It
        does not ask in which task it runs (no ``asyncio.timeout``). ``ended`` is called once where
        something else than ``stop`` ends it: ClientGone where ``send`` raises, StreamRemoved,
        AccessWithdrawn, or what went wrong.
        """
        self.send, self._ended = send, ended
        self._task = asyncio.create_task(self._arrive())

    async def stop(self) -> None:
        """Sends no more, and calls nobody."""
        self._ended = None
        task = self._leave()
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    async def frames(self) -> AsyncGenerator[Frame, None]:
        """The same frames, for whoever pulls them. Raises: what ``ended`` would be told."""
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

    # What its group, and the renewals, ask of it

    def catch_up(self, begun: Rest | None = None, *, is_amid: bool = False) -> None:
        """Has it catch up from its place, at its own pace; first with what was begun."""
        if self.group is not None and self._task is None:
            self.group.pause(self)
            self._task = asyncio.create_task(self._catch_up(begun, is_amid=is_amid))

    def end(self, error: Exception) -> None:
        """Ends it, and says why."""
        task, ended = self._leave(), self._ended
        if task is not None and task is not asyncio.current_task():
            task.cancel()
        if ended is not None:
            self._ended = None
            ended(error)

    def see(self, audience: Audience) -> None:
        """Takes what the policy says now: with another group, from a snapshot on, where it sees
        something else.
        """
        if self.group is None:
            return
        self.audience = audience
        if self._group_name() == self.group.name:
            self.group.renew(audience)
            return
        self.start_anew()

    def start_anew(self) -> None:
        """Joins a group from a snapshot on, whatever it was sent until now."""
        self._leave_group()
        self._join()
        self.place = None
        self.catch_up()

    # Alone

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

    async def _catch_up(self, begun: Rest | None = None, *, is_amid: bool = False) -> None:
        """Sends what it lacks, first what was begun, until its group can send to it."""
        try:
            if begun is not None:
                await self._wait(begun)
            # Amid a commit, the group would begin it anew, and it may be slow at the same part.
            while (group := self.group) is not None and (is_amid or not group.admit(self)):
                is_amid = False
                steps = group.snapshot() if self.place is None else group.steps(self.place)
                async with contextlib.aclosing(steps):
                    async for step in steps:
                        if not await self._take(step, group):
                            break
        except Exception as error:
            self.end(error)
        else:
            self._task = None

    async def _take(self, step: Step, group: Group) -> bool:
        """Sends a step; whether it still belongs to the group then."""
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
        """Leaves everything; what of it still runs."""
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
