"""What a watcher of consumption learns, such as the command's progress display. Why: decision
40.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from durable_state.models import Progress, Stream

from .committing import Commit

__all__ = ["NOBODY", "Watcher"]


def _ignore(*anything: Any) -> None:
    """Does nothing."""


@dataclass(frozen=True, slots=True)
class Watcher:
    """Functions that are called as things happen; they must be quick."""

    began: Callable[[Stream], None] = _ignore
    """A stream's lease was taken."""
    ended: Callable[[Stream], None] = _ignore
    """The stream is no longer consumed here; its columns say why."""
    let_go: Callable[[Stream], None] = _ignore
    """The stream was given up to another seat."""
    committed: Callable[[Stream, Commit, float], None] = _ignore
    """A stream's rows were committed, in so many seconds."""
    progressed: Callable[[Progress], None] = _ignore
    """A stream, or its replay, may have made progress."""
    switching: Callable[[Progress, int, int], None] | None = None
    """A switch has turned so many of so many staged entities into rows. Called in a thread."""
    waits: Callable[[str], None] = _ignore
    """Consumption waits, for the reason given."""


NOBODY = Watcher()
