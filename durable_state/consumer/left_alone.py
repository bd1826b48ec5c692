"""Which streams this process leaves to others, because a call for them hangs in it.

Invariant: a stream costs a process one thread that hangs, however often it is tried.
"""

from __future__ import annotations

from typing import Protocol

from durable_state.models import Stream

__all__ = ["Thread", "is_left_alone", "leave_alone"]


class Thread(Protocol):
    """A thread that was given up, in a call that may never return."""

    def is_alive(self) -> bool:
        """Whether it has not come to its end."""


_threads: dict[tuple[str, int], Thread] = {}


def leave_alone(stream: Stream, thread: Thread) -> None:
    """Leaves the stream to others for as long as the thread hangs."""
    _threads[stream.using, stream.pk] = thread


def is_left_alone(using: str, stream_pk: int) -> bool:
    """Whether a call for the stream hangs in this process."""
    thread = _threads.get((using, stream_pk))
    if thread is None:
        return False
    if thread.is_alive():
        return True
    del _threads[using, stream_pk]
    return False
