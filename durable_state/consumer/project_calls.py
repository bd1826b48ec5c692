"""Calls of the project's own code that may hang: nobody waits for them for long, nor at the end."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Hashable
from typing import Any

from django.db import connections

__all__ = ["ProjectCalls", "StillRunning"]


class StillRunning(Exception):
    """The call takes longer than was to be waited; it goes on."""


class ProjectCalls:
    """Makes each call in a thread of its own, which does not keep the process from ending.

    While a call goes on, another one with the same key waits for it instead: code that hangs takes
    one thread, however often it is asked. For one event loop.
    """

    def __init__(self) -> None:
        self._running: dict[Hashable, asyncio.Future[Any]] = {}

    async def call(
        self, key: Hashable, function: Callable[..., Any], *args: Any, seconds: float
    ) -> Any:
        """What ``function(*args)`` returns, or raises.

        Raises: StillRunning, where that takes longer than ``seconds``.
        """
        running = self._running.get(key)
        if running is None:
            running = self._running[key] = self._begin(key, function, *args)
        await asyncio.wait([running], timeout=seconds)
        if not running.done():
            raise StillRunning
        return running.result()

    def _begin(
        self, key: Hashable, function: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()

        def end(result: Any, error: BaseException | None) -> None:
            del self._running[key]
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)
                future.exception()  # nobody may wait for it any more

        def call() -> None:
            result, error = None, None
            try:
                result = function(*args)
            except BaseException as raised:
                error = raised
            finally:
                connections.close_all()
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
                loop.call_soon_threadsafe(end, result, error)

        threading.Thread(target=call, name="durable-state-headers", daemon=True).start()
        return future
