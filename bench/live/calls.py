"""Counts what a process does: the functions it calls, the plans it compiles."""

from __future__ import annotations

import cProfile
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

from durable_state.consumer.database_thread import DatabaseThread
from durable_state.materializer.compiled import CompiledType

__all__ = ["Calls", "profile_tasks"]


class Calls:
    """Counts from its creation, in this thread and in those that are started afterwards."""

    def __init__(self) -> None:
        self.functions = 0
        """Calls of functions, including those written in C, as cProfile counts them."""
        self.plans = 0
        """Mappings that were compiled."""
        threading.setprofile(self._count)
        sys.setprofile(self._count)

    def _count(self, frame: FrameType, event: str, argument: Any) -> None:
        if event == "call":
            self.functions += 1
            self.plans += frame.f_code is COMPILING
        elif event == "c_call":
            self.functions += 1


COMPILING = CompiledType.__init__.__code__


def profile_tasks() -> cProfile.Profile:
    """Profiles the database threads from now on: yields a profile that fills, one task at a time.

    Its seconds are the thread's CPU, without waits for the database. The event loop is not
    included, nor a task that begins during another one.
    """
    profile, at_work = cProfile.Profile(time.thread_time), threading.Lock()
    call = DatabaseThread.call

    def call_profiled(thread: DatabaseThread, function: Callable[[], Any]) -> Any:
        def work() -> Any:
            if not at_work.acquire(blocking=False):
                return function()
            profile.enable()
            try:
                return function()
            finally:
                profile.disable()
                at_work.release()

        return call(thread, work)

    DatabaseThread.call = call_profiled  # type: ignore[assignment, method-assign]
    return profile
