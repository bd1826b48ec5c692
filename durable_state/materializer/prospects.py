"""What the current commit is still going to do with rows that are shown now.

Why: decision 27.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

__all__ = ["Prospects", "nobody"]

Among = Callable[[str, Collection[str]], set[str]]
"""Returns those among the keys of a type of which something holds."""


def nobody(entity_type: str, keys: Collection[str]) -> set[str]:
    """None of them."""
    return set()


@dataclass(slots=True)
class Prospects:
    """Rows that keep their place only until the commit gets to them.

    ``leaving`` tells which rows the commit is going to delete: nothing is linked to them any more,
    and their unique values may be taken. ``moving`` tells which rows it is still going to write:
    their unique values may be taken, too.
    """

    leaving: Among = nobody
    moving: Among = nobody
