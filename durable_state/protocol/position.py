"""Where a reader stands in a stream."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["START", "Position"]


class Position(NamedTuple):
    """A place between two messages of a stream.

    ``offset`` is the server's opaque token that a response began at ("-1" is the stream's start),
    ``skip`` counts the messages of that response that lie before this place, and ``ordinal`` counts
    all messages since the stream's start.
    """

    offset: str
    skip: int
    ordinal: int


START = Position("-1", 0, 0)
