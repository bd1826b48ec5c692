"""What somebody is told who looks on while streams are consumed.

Why: decision 40.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from durable_state.models import Progress, Stream

from .committing import Commit

__all__ = ["NOBODY", "Watcher"]


def _ignore(*anything: Any) -> None:
    """Nobody looks on."""


@dataclass(frozen=True, slots=True)
class Watcher:
    """Functions that are called as things happen; they must be quick."""

    began: Callable[[Stream], None] = _ignore
    """A stream was taken."""
    ended: Callable[[Stream], None] = _ignore
    """Nothing more is done for the stream; its columns say why."""
    let_go: Callable[[Stream], None] = _ignore
    """The stream was given up, because another seat has fewer."""
    committed: Callable[[Stream, Commit, float], None] = _ignore
    """A stream's rows were committed, in so many seconds."""
    progressed: Callable[[Progress], None] = _ignore
    """A stream, or its replay, is as far as it is now."""
    switching: Callable[[Progress, int, int], None] | None = None
    """So many staged entities of so many have become rows of a switch. Called in a thread."""
    waits: Callable[[str], None] = _ignore
    """Why nothing happens."""


NOBODY = Watcher()
