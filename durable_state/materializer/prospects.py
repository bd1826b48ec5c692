"""What the commit in hand is going to do with rows that are shown now.

Why: decision 27.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

__all__ = ["Prospects", "nobody"]

Among = Callable[[str, Collection[str]], set[str]]
"""Which of the keys of a type."""


def nobody(entity_type: str, keys: Collection[str]) -> set[str]:
    """None of them."""
    return set()


@dataclass(slots=True)
class Prospects:
    """Rows that hold a place only until the commit gets to them.

    ``leaving`` tells which rows it is going to delete: nobody is linked to those any more, and
    their unique values may be had. ``moving`` tells which ones it is still going to write: their
    unique values may be had, too.
    """

    leaving: Among = nobody
    moving: Among = nobody
