"""Calls project code that may hang; nothing waits for it long, not even the process's end."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

from django.db import connections

from durable_state.errors import Unavailable

__all__ = ["ProjectCalls", "StillRunning"]

MOST_HANGING = 256
"""Calls that may hang at a time in one process. Beyond that, no further call is made."""


class StillRunning(Exception):
    """The call has not returned in time; it continues in ``thread``."""

    def __init__(self, thread: threading.Thread) -> None:
        super().__init__(thread)
        self.thread = thread


class _Running(NamedTuple):
    """A running call."""

    thread: threading.Thread
    result: asyncio.Future[Any]


_hanging: set[threading.Thread] = set()
"""The threads of this process whose calls have not returned in time."""


class ProjectCalls:
    """Makes each call in a thread of its own, which does not keep the process from ending.

    While a call is running, another with the same key waits for it instead of being made, so code
    that hangs takes one thread, however often it is called. For one event loop.
    """

    def __init__(self, begin: Callable[[], None] = lambda: None) -> None:
        """``begin`` is called first in each thread."""
        self._begin_thread = begin
        self._running: dict[Hashable, _Running] = {}

    async def call(
        self, key: Hashable, function: Callable[..., Any], *args: Any, seconds: float
    ) -> Any:
        """Returns what ``function(*args)`` returns, and raises what it raises.

        Raises: StillRunning, if that takes longer than ``seconds``; Unavailable, if too many calls
        hang already.
        """
        running = self._running.get(key)
        if running is None:
            _check_few_hang()
            running = self._running[key] = self._begin(key, function, *args)

        await asyncio.wait([running.result], timeout=seconds)
        if not running.result.done():
            _hanging.add(running.thread)
            raise StillRunning(running.thread)
        return running.result.result()

    def _begin(self, key: Hashable, function: Callable[..., Any], *args: Any) -> _Running:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()

        def end(result: Any, error: BaseException | None) -> None:
            del self._running[key]
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)
                future.exception()  # marks it as retrieved: nobody may be waiting any more

        def call() -> None:
            result, error = None, None
            try:
                self._begin_thread()
                result = function(*args)
            except BaseException as raised:
                error = raised
            finally:
                connections.close_all()
                _hanging.discard(threading.current_thread())
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
                loop.call_soon_threadsafe(end, result, error)

        thread = threading.Thread(target=call, name="durable-state-headers", daemon=True)
        thread.start()
        return _Running(thread, future)


def _check_few_hang() -> None:
    if len(_hanging) >= MOST_HANGING:
        raise Unavailable(
            f"{len(_hanging)} calls of the project's code hang in this process.",
            "Find out what they wait for, and restart the worker.",
        )
