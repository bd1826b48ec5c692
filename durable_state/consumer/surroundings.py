"""What a consumer needs from the thread that starts it. Why: decision 56."""

from __future__ import annotations

import sys
from typing import Any

from durable_state.databases.callers import CallerState
from durable_state.databases.pooled import give_back_pooled
from durable_state.errors import OperationRefused

__all__ = ["begin_in", "check_threads"]

_PATCHES = {
    "gevent": ("gevent.monkey", "is_module_patched", "threading"),
    "eventlet": ("eventlet.patcher", "is_monkey_patched", "thread"),
}
"""What to look for, by library, to see that it has replaced threads."""


def begin_in(using: str) -> CallerState:
    """The state that a consumer takes over from the calling thread, whose pooled connection is
    given back.

    Raises: OperationRefused, if no consumer can run here.
    """
    check_threads()
    state = CallerState.of(using)
    give_back_pooled()
    return state


def check_threads() -> None:
    """Raises: OperationRefused, if gevent or eventlet has replaced threads."""
    for library, (module, question, name) in _PATCHES.items():
        loaded: Any = sys.modules.get(module)
        if loaded is not None and getattr(loaded, question)(name):
            raise OperationRefused(
                f"Streams cannot be consumed in a worker with {library}: it needs threads and an"
                " event loop of its own.",
                "Start a worker for them with --pool prefork, threads or solo, on a queue of its"
                " own (QUEUE), or `durable_state run`.",
            )
