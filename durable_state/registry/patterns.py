"""Stream patterns: shell wildcards over stream names."""

from __future__ import annotations

import string
from collections.abc import Iterable
from fnmatch import fnmatchcase
from functools import lru_cache

__all__ = ["ANY", "overlap"]

ANY = ("*",)
"""What a mapping without ``streams`` serves."""

ALPHABET = frozenset(string.ascii_letters + string.digits + "._-")
Letters = frozenset[str]


def overlap(one: Iterable[str], other: Iterable[str]) -> bool:
    """Whether a stream can have a name that a pattern of each side matches."""
    theirs = [_letters(pattern) for pattern in other]
    return any(
        _meet(ours, each) for pattern in one for ours in [_letters(pattern)] for each in theirs
    )


def _letters(pattern: str) -> tuple[Letters | None, ...]:
    """The pattern letter by letter: what may stand there; None for a ``*``."""
    parts: list[Letters | None] = []
    at = 0
    while at < len(pattern):
        end = at + 1
        if pattern[at] == "*":
            parts.append(None)
        else:
            if (
                pattern[at] == "["
                and (closing := pattern.find("]", at + 2 + pattern.startswith("!", at + 1))) > 0
            ):
                end = closing + 1
            part = pattern[at:end]
            parts.append(frozenset(letter for letter in ALPHABET if fnmatchcase(letter, part)))
        at = end
    return tuple(parts)


@lru_cache(maxsize=1024)
def _meet(one: tuple[Letters | None, ...], other: tuple[Letters | None, ...]) -> bool:
    if not one and not other:
        return True
    if one and one[0] is None:
        return _meet(one[1:], other) or (bool(other) and _meet(one, other[1:]))
    if other and other[0] is None:
        return _meet(other, one)
    return bool(one) and bool(other) and bool(one[0] & other[0]) and _meet(one[1:], other[1:])  # type: ignore[operator]
