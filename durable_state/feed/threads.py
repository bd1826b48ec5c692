"""The feed's own threads, for calls to the policy, the mappings and the database.

No slow call delays another follower's frames: each follower has one call running at a time, and a
slow call gives up its place to the next one. An event loop uses at most PLACES + SPARE threads.
They are daemons, so that project code which hangs does not keep the process from exiting.

Why: decision 67.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import queue
import sys
import sysconfig
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Hashable
from functools import partial
from typing import Any, ParamSpec, TypeVar

from django.db import connections

from durable_state.databases.pooled import give_back_pooled
from durable_state.errors import DurableStateError

__all__ = ["CallTimedOut", "note_error", "run_for", "run_once_for"]

logger = logging.getLogger("durable_state.feed")

P = ParamSpec("P")
T = TypeVar("T")

PLACES = 4
"""Calls at once while they are quick."""
SPARE = 28
"""Further calls that turned out to be slow, or whose follower's last call was slow."""
SLOW_SECONDS = 0.5
"""Seconds after which a call gives up its place."""
TOLD_SECONDS = 2.0
"""Seconds after which a call is mentioned in the log."""
CALL_SECONDS = 30.0
"""Seconds after which nobody waits for a call any more.

Waiting in line does not count, however long it takes, unless the line does not move for this long.
"""
LINGER_SECONDS = 0.1
"""Seconds for which an idle thread keeps connections that are to be closed after each call.

Ten thousand calls in a row would otherwise connect ten thousand times.
"""
IDLE_SECONDS = 30.0
"""Seconds after which an idle thread ends."""


class CallTimedOut(DurableStateError):
    """A call for a follower did not finish, or could not begin, within CALL_SECONDS."""


async def run_for(
    follower: str, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
) -> T:
    """Calls the function in one of the feed's threads, on behalf of ``follower``.

    Raises: CallTimedOut; whatever the function raises.
    """
    result: T = await _turns_here().run(_Call(follower, partial(function, *args, **kwargs)))
    return result


async def run_once_for(
    key: Hashable, follower: str, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
) -> T:
    """The same, with one call for everybody who asks with this key before it begins.

    Thousands of sockets that reconnect together wait for one answer, which is as fresh as if each
    had asked for itself. Raises: the same.
    """
    turns = _turns_here()
    task = turns.waiting.get(key)
    if task is None:
        call = partial(function, *args, **kwargs)
        task = turns.waiting[key] = asyncio.create_task(turns.run_once(key, follower, call))
        task.add_done_callback(note_error)
    # Whoever leaves must not take the answer away from the others.
    result: T = await asyncio.shield(task)
    return result


def note_error(task: asyncio.Future[Any]) -> None:
    """Takes note of what it raised, even when everyone who waited has left."""
    if not task.cancelled():
        task.exception()


def _turns_here() -> _Turns:
    loop = asyncio.get_running_loop()
    turns = _turns.get(loop)
    if turns is None:
        turns = _turns[loop] = _Turns()
    return turns


class _NoProgress(Exception):
    """What is waited for has made no progress for CALL_SECONDS."""


class _Places:
    """Lets a number of calls run at once; the others wait, first come, first served."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._given = 0
        """How often a place was given to somebody who waited."""

    def take_free(self) -> bool:
        """Takes a place if one is free."""
        if not self._free:
            return False
        self._free -= 1
        return True

    async def take(self) -> None:
        """Takes a place as soon as one is free.

        Raises: _NoProgress, if nobody in the line was given one for CALL_SECONDS.
        """
        if self.take_free():
            return
        future = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        try:
            given = self._given
            while not (await asyncio.wait([future], timeout=CALL_SECONDS))[0]:
                if given == self._given:
                    raise _NoProgress
                given = self._given
        except BaseException:
            if not future.cancel():
                self.give_back()
            raise

    def give_back(self) -> None:
        """Gives a place back, to the next in line."""
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                future.set_result(None)
                self._given += 1
                return
        self._free += 1


class _Turns:
    """Decides which call may run next, in one event loop."""

    def __init__(self) -> None:
        self._places = _Places(PLACES)
        self._spare = _Places(SPARE)
        self._followers: weakref.WeakValueDictionary[str, _Places] = weakref.WeakValueDictionary()
        self.waiting: dict[Hashable, asyncio.Task[Any]] = {}
        """Calls of ``run_once_for`` that have not begun."""
        self._slow: dict[str, None] = {}
        """Followers whose last call was slow: they wait for each other only."""

    async def run(self, call: _Call) -> Any:
        try:
            return await self._call(call)
        except _NoProgress:
            raise CallTimedOut(
                f"{call.follower}: no answer within {CALL_SECONDS:g} seconds, {call.place()}."
            ) from None

    async def run_once(self, key: Hashable, follower: str, function: Callable[[], Any]) -> Any:
        own = asyncio.current_task()

        def begin() -> None:
            if self.waiting.get(key) is own:
                del self.waiting[key]

        try:
            return await self.run(_Call(follower, function, begin))
        finally:
            begin()

    async def _call(self, call: _Call) -> Any:
        """Waits for the follower's turn, then for a place, then for the thread."""
        turn = self._followers.setdefault(call.follower, _Places(1))
        await turn.take()
        try:
            places = self._spare if call.follower in self._slow else self._places
            await places.take()
        except BaseException:
            turn.give_back()
            raise

        def relieve() -> None:
            """Lets another call begin meanwhile, if there is a place to wait in."""
            nonlocal places
            if places is self._places and self._spare.take_free():
                places = self._spare
                self._places.give_back()

        def end(_: object) -> None:
            relief.cancel()
            places.give_back()
            turn.give_back()
            self._note(call)

        # Whoever waits may leave; the turn and the place are free when the call has really ended.
        call.begins()
        loop = asyncio.get_running_loop()
        relief = loop.call_later(SLOW_SECONDS, relieve)
        result = call.start(loop)
        result.add_done_callback(end)
        if not (await asyncio.wait([result], timeout=CALL_SECONDS))[0]:
            raise _NoProgress
        return result.result()

    def _note(self, call: _Call) -> None:
        seconds = time.monotonic() - call.began
        if seconds < SLOW_SECONDS:
            self._slow.pop(call.follower, None)
            return
        self._slow[call.follower] = None
        while len(self._slow) > 10_000:
            self._slow.pop(next(iter(self._slow)))
        if seconds >= TOLD_SECONDS:
            logger.warning("%s: %s took %.1f seconds.", call.follower, call.name, seconds)


class _Call:
    """One call of a function, and how far it has come."""

    def __init__(
        self,
        follower: str,
        function: Callable[[], Any],
        begins: Callable[[], None] = lambda: None,
    ) -> None:
        self.follower = follower
        self.begins = begins
        self._function = function
        self._context = contextvars.copy_context()
        self._thread: _Thread | None = None
        self.began = 0.0

    @property
    def name(self) -> str:
        """Names the function."""
        function: Any = self._function
        while isinstance(function, partial):
            function = function.func
        return str(getattr(function, "__qualname__", function))

    def place(self) -> str:
        """Says how far it has come, for the log."""
        if self._thread is None:
            return f"{self.name} was not called: other calls did not end"
        return f"{self.name} stands at {self._thread.place()}"

    def start(self, loop: asyncio.AbstractEventLoop) -> asyncio.Future[Any]:
        """Starts the call in a thread; the future gets what it returns or raises."""
        result = loop.create_future()
        self.began = time.monotonic()
        self._thread = _take_thread()
        self._thread.calls.put((self, loop, result))
        return result

    def make(self) -> Any:
        """Makes the call in this thread, treating connections nearly as a request does."""
        _close_unfit_connections()
        try:
            return self._context.run(self._function)
        finally:
            _close_unfit_connections()


class _Thread(threading.Thread):
    """Makes one call after the other, and ends after being idle for a while."""

    def __init__(self) -> None:
        super().__init__(name="durable_state.feed", daemon=True)
        self.calls: queue.SimpleQueue[
            tuple[_Call, asyncio.AbstractEventLoop, asyncio.Future[Any]]
        ] = queue.SimpleQueue()

    def run(self) -> None:
        """Makes the calls."""
        while True:
            try:
                call, loop, result = self._next_call()
            except queue.Empty:
                if self._leave():
                    return
                continue
            value, error = None, None
            try:
                value = call.make()
            except BaseException as raised:
                error = raised
            with _lock:
                _idle.append(self)
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
                loop.call_soon_threadsafe(_settle, result, value, error)
            del call, loop, result, value, error  # or they stay until the next call

    def place(self) -> str:
        """The innermost line of the project that it is in, else of anything."""
        frame = sys._current_frames().get(self.ident or 0)
        found = frame
        while found is not None and found.f_code.co_filename.startswith(_LIBRARIES):
            found = found.f_back
        found = found or frame
        if found is None:
            return "its end"
        return f"{found.f_code.co_filename}:{found.f_lineno} in {found.f_code.co_name}"

    def _next_call(self) -> tuple[_Call, asyncio.AbstractEventLoop, asyncio.Future[Any]]:
        """Waits for the next call. Raises: queue.Empty, after IDLE_SECONDS."""
        with contextlib.suppress(queue.Empty):
            return self.calls.get(timeout=LINGER_SECONDS)
        _close_lingering_connections()
        return self.calls.get(timeout=IDLE_SECONDS)

    def _leave(self) -> bool:
        with _lock:
            if self not in _idle:
                return False  # it was taken just now
            _idle.remove(self)
        connections.close_all()
        return True


def _take_thread() -> _Thread:
    with _lock:
        if _idle:
            return _idle.pop()
    thread = _Thread()
    thread.start()
    return thread


def _close_lingering_connections() -> None:
    """Closes the connections that may not outlive a request. Raises nothing."""
    for connection in connections.all(initialized_only=True):
        if connection.settings_dict["CONN_MAX_AGE"] == 0:
            with contextlib.suppress(Exception):  # broken anyway, and the thread has to go on
                connection.close()


def _close_unfit_connections() -> None:
    """Closes connections that are broken or too old, and gives pooled ones back.

    Those that may not outlive a request (CONN_MAX_AGE is 0) are kept until the thread is idle.
    """
    give_back_pooled()
    for connection in connections.all(initialized_only=True):
        may_linger = connection.settings_dict["CONN_MAX_AGE"] == 0
        if not may_linger or connection.errors_occurred or not connection.autocommit:
            connection.close_if_unusable_or_obsolete()


def _settle(result: asyncio.Future[Any], value: Any, error: BaseException | None) -> None:
    if result.done():
        return
    if error is None:
        result.set_result(value)
        return
    if isinstance(error, StopIteration):  # which no future takes
        error = RuntimeError(repr(error))
    result.set_exception(error)
    result.exception()  # Seen, even when everyone who waited has left.


_LIBRARIES = tuple(
    {sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")}
)
_lock = threading.Lock()
_idle: list[_Thread] = []
_turns: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Turns] = weakref.WeakKeyDictionary()
