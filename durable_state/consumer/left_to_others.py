"""Streams that this process leaves to other workers, because a call for them hangs in it.

Invariant: a stream costs a process at most one hung thread, however often it is tried.
"""

from __future__ import annotations

from typing import Protocol

from durable_state.models import Stream

__all__ = ["Thread", "is_left_to_others", "leave_to_others"]


class Thread(Protocol):
    """A thread that was given up because its call may never return."""

    def is_alive(self) -> bool:
        """Whether it is still running."""


_threads: dict[tuple[str, int], Thread] = {}


def leave_to_others(stream: Stream, thread: Thread) -> None:
    """Leaves the stream to other workers for as long as the thread hangs."""
    _threads[stream.using, stream.pk] = thread


def is_left_to_others(using: str, stream_pk: int) -> bool:
    """Whether a call for the stream hangs in this process."""
    thread = _threads.get((using, stream_pk))
    if thread is None:
        return False
    if thread.is_alive():
        return True
    del _threads[using, stream_pk]
    return False
