"""Splits the JSON array of one response into messages while its bytes arrive."""

from __future__ import annotations

import re

from durable_state.errors import ProtocolViolation

from .decoding import decode, decode_valid
from .messages import Message
from .scanner import ItemScanner

__all__ = ["ArraySplitter"]

_STRIDE = 16 * 1024
"""Bytes that must arrive between two attempts to decode many items at once,
so that small pieces do not cause many attempts.
"""

_CANDIDATES = 3
"""Boundaries tried from the right before the scanner takes over."""

_TAIL = 2 * 64 * 1024
"""Bytes at the end of the buffer that are looked at for white space: more than arrives at once."""

_SPACE = b" \t\r\n"
_LEADING_SPACE = re.compile(rb"[ \t\r\n]*")
_COMMA, _BRACE = b",}"


class ArraySplitter:
    """Takes one JSON array in pieces of any size, and gives the same messages as for the whole.

    The fast way decodes everything up to a ``},`` near the end of what has arrived. A ``},`` that
    does not end an item leaves a string or a bracket open, so the slice does not decode and the
    next one is tried. Where none decodes, the bytes at hand are walked by an :class:`ItemScanner`
    before the fast way is tried again, which keeps the whole linear.

    White space around items is dropped as it comes. What is kept is one item that has not ended,
    of at most ``largest`` bytes (None: of any size), and a few that nobody asked for yet.

    Messages may be held back until :meth:`flush` or :meth:`finish`.
    Raises: ProtocolViolation for bytes that are no JSON array. Spec: PROTOCOL.md 9.1.5.
    """

    def __init__(self, largest: int | None = None) -> None:
        self.opened = False
        """Whether the opening bracket was seen."""
        self.complete = False
        """Whether the closing bracket was seen."""
        self.too_large = False
        """Whether an item is larger than ``largest``: nothing is given from it on."""
        self._largest = largest
        self._buffer = bytearray()
        self._items = 0  # seen so far; tells `[]` from a comma without an item
        self._fresh = 0  # bytes since the last attempt
        self._scanner = ItemScanner()
        self._scan_left = 0  # bytes that the scanner must pass before the fast way is tried again
        self._scanning = False

    @property
    def is_slow(self) -> bool:
        """Whether items are looked for one by one, which takes many times longer."""
        return self._scanning

    @property
    def buffered(self) -> int:
        """Bytes held that have not become a message yet."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[Message]:
        """Takes the next bytes of the array, and gives the messages that are known to be whole."""
        if self.too_large or not (data := self._open(data)):
            return []
        if self.complete:
            self._buffer += data
            self._refuse_rest()
            return []

        self._buffer += data
        if not self._scanning:
            self._skip_space()
        self._fresh += len(data)
        most = len(self._buffer)
        messages: list[Message] = []
        while not self.complete:
            if self._scanning:
                messages += self._scan()
                if self._scanning:
                    break
            if self._fresh < _STRIDE:
                break
            self._fresh = 0
            if not self._leap(messages):
                self._scanning, self._scan_left = True, len(self._buffer)

        if self._largest is not None and most > self._largest:
            messages += self.flush()
            return self._within_limit(messages)
        return messages

    def flush(self) -> list[Message]:
        """The messages that are whole by now, while more bytes may come."""
        if self.complete or not self.opened or self.too_large:
            return []
        self._scanning, self._scan_left = True, max(self._scan_left, len(self._buffer))
        return self._scan()

    def finish(self) -> list[Message]:
        """The messages still held, once no more bytes will come.

        :attr:`complete` then says whether the array was.
        """
        if self.complete or not self.opened or self.too_large:
            return []
        if (
            not self._scanning
            and (whole := decode_valid(b"[" + self._buffer)) is not None
            and (whole or not self._items)
        ):
            self._buffer.clear()
            self.complete = True
            return whole
        self._scanning, self._scan_left = True, len(self._buffer) + 1
        return self._scan()

    def _open(self, data: bytes) -> bytes:
        """Passes the white space before the opening bracket, and the bracket;
        gives what is behind.
        """
        if self.opened:
            return data
        data = data.lstrip(_SPACE)
        if not data:
            return data
        if data[:1] != b"[":
            raise ProtocolViolation(
                "The body is not a JSON array.",
                "Retrying; if this persists, tell the server's operator.",
            )
        self.opened = True
        return data[1:]

    def _within_limit(self, messages: list[Message]) -> list[Message]:
        """The messages before the first that is too large; one that has not ended counts too."""
        assert self._largest is not None
        for index, message in enumerate(messages):
            if len(message.raw) > self._largest:
                del messages[index:]
                self.too_large = True
                break
        if self.too_large or len(self._buffer) > self._largest:
            self.too_large = True
            self._buffer.clear()
        return messages

    def _leap(self, messages: list[Message]) -> bool:
        """Decodes up to one of the last boundaries; False where none of them is one."""
        end = len(self._buffer)
        for _ in range(_CANDIDATES):
            end = self._buffer.rfind(b"},", 0, end)
            if end < 0:
                return False
            found = decode_valid(b"".join((b"[", self._buffer[: end + 1], b"]")))
            if found is not None:
                messages += found
                self._items += len(found)
                del self._buffer[: end + 2]
                return True
        return False

    def _scan(self) -> list[Message]:
        """Gives the items that end within the buffer, one by one.

        Stops scanning where the bytes at hand have been passed.
        """
        messages: list[Message] = []
        view = self._buffer
        while self._scan_left > 0:
            if self._scanner.at_start:
                self._skip_space()
                if self._scan_left <= 0:
                    break
            end = self._scanner.end(view)
            if end < 0:
                self._trim_space()
                return messages
            item = bytes(memoryview(view)[:end]).strip(_SPACE)
            closing = view[end] != _COMMA
            if view[end] == _BRACE:
                raise ProtocolViolation(
                    "The JSON array has a brace that closes nothing.", "Retrying automatically."
                )
            if item:
                messages.append(decode(item, self._scanner.deepest))
                self._items += 1
            elif not closing or self._items:
                raise ProtocolViolation(
                    "The JSON array has a comma without an item.", "Retrying automatically."
                )
            del view[: end + 1]
            self._scan_left -= end + 1
            self._scanner.restart()
            if closing:
                self.complete = True
                self._scanning = False
                self._refuse_rest()
                return messages
        self._scanning = False
        self._fresh = len(view)
        return messages

    def _skip_space(self) -> None:
        """Drop the white space before an item."""
        match = _LEADING_SPACE.match(self._buffer)
        if match is not None and match.end():
            del self._buffer[: match.end()]
            self._scan_left -= match.end()

    def _trim_space(self) -> None:
        """Drop the white space behind an item whose comma has not come, but for one byte.

        That one tells ``1 2``, which is no item, from ``12``.
        """
        if not self._scanner.outside:
            return
        tail = bytes(self._buffer[-_TAIL:])
        surplus = len(tail) - len(tail.rstrip(_SPACE)) - 1
        if surplus > 0:
            del self._buffer[-surplus:]
            self._scanner.go_back(surplus)
            self._scan_left = max(self._scan_left - surplus, 1)

    def _refuse_rest(self) -> None:
        if self.complete:
            if self._buffer.strip(_SPACE):
                raise ProtocolViolation(
                    "There are bytes after the end of the JSON array.", "Retrying automatically."
                )
            self._buffer.clear()
