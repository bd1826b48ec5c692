"""Splits the JSON array of one response into messages while its bytes arrive."""

from __future__ import annotations

from durable_state.errors import ProtocolViolation

from .decoding import decode, decode_valid
from .messages import Message
from .scanner import ItemScanner

__all__ = ["ArraySplitter", "decode_items"]

_STRIDE = 16 * 1024
"""Bytes that must arrive between two attempts to decode many items at once, so that small pieces do not cause many attempts."""

_CANDIDATES = 3
"""Boundaries tried from the right before the scanner takes over."""

_SPACE = b" \t\r\n"
_COMMA, _BRACE = b",}"


class ArraySplitter:
    """Feed it one JSON array in any pieces; it gives the same messages as if the array had come whole.

    The fast way decodes everything up to a ``},`` near the end of what has arrived. A ``},`` that does not end an item leaves a string
    or a bracket open, so the slice does not decode and the next one is tried. Where none decodes, the bytes at hand are walked by an
    :class:`ItemScanner` before the fast way is tried again, which keeps the whole linear.

    Messages may be held back until :meth:`finish`. Raises: ProtocolViolation for bytes that are no JSON array.
    Spec: PROTOCOL.md 9.1.5.
    """

    def __init__(self) -> None:
        self.complete = False
        """Whether the closing bracket was seen."""
        self._buffer = bytearray()
        self.opened = False
        """Whether the opening bracket was seen."""
        self._items = 0  # seen so far; tells `[]` from a comma without an item
        self._fresh = 0  # bytes since the last attempt
        self._scanner = ItemScanner()
        self._scan_left = 0  # bytes that the scanner must pass before the fast way is tried again
        self._scanning = False

    @property
    def buffered(self) -> int:
        """Bytes held that have not become a message yet."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[Message]:
        """Take the next bytes of the array, and give the messages that are known to be whole."""
        self._buffer += data
        if self.complete or not self._open():
            self._refuse_rest()
            return []
        self._fresh += len(data)
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
        return messages

    def finish(self) -> list[Message]:
        """The messages still held, once no more bytes will come; :attr:`complete` then says whether the array was."""
        if self.complete or not self.opened:
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

    def _open(self) -> bool:
        """Pass the opening bracket. False while only white space has come."""
        if self.opened:
            return True
        start = self._buffer.lstrip(_SPACE)
        if not start:
            return False
        if start[:1] != b"[":
            raise ProtocolViolation(
                "The body is no JSON array.",
                "It is read again; if this persists, tell the server's operator.",
            )
        del self._buffer[: len(self._buffer) - len(start) + 1]
        self.opened = True
        return True

    def _leap(self, messages: list[Message]) -> bool:
        """Decode up to one of the last boundaries; False where none of them is one."""
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
        """Give the items that end within the buffer, one by one; stop scanning where the bytes at hand have been passed."""
        messages: list[Message] = []
        view = self._buffer
        while self._scan_left > 0:
            end = self._scanner.end(view)
            if end < 0:
                return messages
            item = bytes(view[:end]).strip(_SPACE)
            closing = view[end] != _COMMA
            if view[end] == _BRACE:
                raise ProtocolViolation(
                    "The JSON array has a brace that closes nothing.", "It is read again."
                )
            if item:
                messages.append(decode(item))
                self._items += 1
            elif not closing or self._items:
                raise ProtocolViolation(
                    "The JSON array has a comma without an item.", "It is read again."
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

    def _refuse_rest(self) -> None:
        if self.complete:
            if self._buffer.strip(_SPACE):
                raise ProtocolViolation(
                    "There are bytes after the end of the JSON array.", "It is read again."
                )
            self._buffer.clear()


def decode_items(array: bytes) -> list[Message]:
    """The messages of one array that has arrived whole. Raises: ProtocolViolation where it is no JSON array."""
    if (messages := decode_valid(array)) is not None:
        return messages
    splitter = ArraySplitter()
    messages = splitter.feed(array) + splitter.finish()
    if not splitter.complete:
        raise ProtocolViolation("The JSON array is cut.", "It is read again.")
    return messages
