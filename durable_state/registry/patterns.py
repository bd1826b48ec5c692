"""Stream patterns: shell wildcards over stream names."""

from __future__ import annotations

import string
from collections.abc import Iterable
from fnmatch import fnmatchcase
from functools import lru_cache
from itertools import product

__all__ = ["ANY", "overlap"]

ANY = ("*",)
"""What a mapping without ``streams`` serves."""

ALPHABET = frozenset(string.ascii_letters + string.digits + "._-")
Letters = frozenset[str]


def overlap(one: Iterable[str], other: Iterable[str]) -> bool:
    """Whether a stream can have a name that a pattern of each side matches."""
    theirs = [_letters(pattern) for pattern in other]
    return any(_meet(_letters(ours), each) for ours, each in product(one, theirs))


def _letters(pattern: str) -> tuple[Letters | None, ...]:
    """The letters that may stand at each place of the pattern; None for a ``*``."""
    parts: list[Letters | None] = []
    at = 0
    while at < len(pattern):
        end = at + 1
        if pattern[at] == "*":
            parts.append(None)
            at = end
            continue

        if pattern[at] == "[":
            first = at + (2 if pattern.startswith("!", at + 1) else 1)
            closing = pattern.find("]", first + 1)  # a "]" that comes first stands for itself
            end = end if closing < 0 else closing + 1
        part = pattern[at:end]
        parts.append(frozenset(letter for letter in ALPHABET if fnmatchcase(letter, part)))
        at = end
    return tuple(parts)


@lru_cache(maxsize=1024)
def _meet(one: tuple[Letters | None, ...], other: tuple[Letters | None, ...]) -> bool:
    # reached[n]: some text matches the part of `one` gone through so far, and n parts of `other`.
    reached = [True]
    for theirs in other:
        reached.append(reached[-1] and theirs is None)

    for ours in one:
        before, reached = reached, [reached[0] and ours is None]
        for at, theirs in enumerate(other):
            if ours is None or theirs is None:
                reached.append(before[at + 1] or reached[at])
            else:
                reached.append(before[at] and not ours.isdisjoint(theirs))
    return reached[-1]
