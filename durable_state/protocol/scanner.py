"""Finds where JSON items end, by structure alone.

The scanner knows strings and brackets and nothing else of JSON. It takes over when msgspec refuses
an array, so it must never fail itself, and must stay linear however an item is cut into pieces.
"""

from __future__ import annotations

import re

__all__ = ["MAX_DEPTH", "ItemScanner", "too_deep"]

MAX_DEPTH = 500
"""The deepest nesting of one item that is decoded.

Fixed, so that the answer does not depend on how full the caller's stack is.
"""

# Possessive quantifiers: no backtracking, so that a long item costs one pass.
_FLAT = re.compile(rb'(?>[^"\[\]{}]++|"(?>[^"\\]++|\\.)*+")*+', re.DOTALL)
_FLAT_TOP = re.compile(rb'(?>[^"\[\]{},]++|"(?>[^"\\]++|\\.)*+")*+', re.DOTALL)
_STRING_REST = re.compile(rb"(?>[^\"\\]++|\\.)*+", re.DOTALL)

_QUOTE, _COMMA, _BACKSLASH = b'"'[0], b","[0], b"\\"[0]
_OPEN = frozenset(b"[{")


class ItemScanner:
    """Scans one item at a time, and looks at no byte twice, however few arrive at once."""

    __slots__ = ("_depth", "_in_string", "_pos", "deepest")

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Stand at the first byte of an item."""
        self._pos = 0
        self._depth = 0
        self._in_string = False
        self.deepest = 0

    @property
    def at_start(self) -> bool:
        """Whether no byte of the item has been passed."""
        return self._pos == 0

    @property
    def outside(self) -> bool:
        """Whether some of the item was passed, and no string and no bracket is open."""
        return self._pos > 0 and self._depth == 0 and not self._in_string

    def go_back(self, count: int) -> None:
        """So many bytes at the buffer's end, all passed, were dropped."""
        self._pos -= count

    def end(self, buffer: bytes | bytearray) -> int:
        """The index of the ``,`` or ``]`` that ends the item which ``buffer`` starts with,
        or -1 while it is not there yet.

        ``buffer`` may only have grown since the last call.
        """
        size = len(buffer)
        pos = self._pos
        while pos < size:
            if self._in_string:
                pos = _stop(_STRING_REST, buffer, pos)
                if pos >= size or buffer[pos] == _BACKSLASH:
                    # A backslash whose partner has not arrived.
                    break
                self._in_string = False
                pos += 1
                continue
            pos = _stop(_FLAT if self._depth else _FLAT_TOP, buffer, pos)
            if pos >= size:
                break
            byte = buffer[pos]
            if byte == _QUOTE:
                self._in_string = True
            elif byte in _OPEN:
                self._depth += 1
                self.deepest = max(self.deepest, self._depth)
            elif self._depth == 0:  # a comma, or the bracket that closes the array
                self._pos = pos
                return pos
            else:
                self._depth -= 1
            pos += 1
        self._pos = pos
        return -1


def too_deep(item: bytes) -> bool:
    """Whether ``item`` nests deeper than :data:`MAX_DEPTH`."""
    if len(item) <= 2 * MAX_DEPTH or item.count(b"[") + item.count(b"{") <= MAX_DEPTH:
        return False
    scanner = ItemScanner()
    scanner.end(item)
    return scanner.deepest > MAX_DEPTH


def _stop(pattern: re.Pattern[bytes], buffer: bytes | bytearray, pos: int) -> int:
    match = pattern.match(buffer, pos)
    return match.end() if match else pos
