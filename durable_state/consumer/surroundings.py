"""What a consumer needs of the thread that it is started in.

Why: decision 56.
"""

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
"""By what each library tells that threads are not threads any more."""


def begin_in(using: str) -> CallerState:
    """What a consumer takes over of the calling thread; whose pooled connection is given back.

    Raises: OperationRefused, where no consumer can run.
    """
    check_threads()
    state = CallerState.of(using)
    give_back_pooled()
    return state


def check_threads() -> None:
    """Raises: OperationRefused, where gevent or eventlet has taken the place of threads."""
    for library, (module, question, name) in _PATCHES.items():
        loaded: Any = sys.modules.get(module)
        if loaded is not None and getattr(loaded, question)(name):
            raise OperationRefused(
                f"Streams cannot be consumed in a worker with {library}: it needs threads and an"
                " event loop of its own.",
                "Start a worker for them with --pool prefork, threads or solo, on a queue of its"
                " own (QUEUE), or `durable_state run`.",
            )
