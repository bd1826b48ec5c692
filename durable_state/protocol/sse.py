"""Parses a Server-Sent Events body while its bytes arrive.

Spec: https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation

Why: decision 3.
"""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["SSEDecoder", "ServerSentEvent"]

_LINE_END = re.compile(rb"\r\n|\n|\r")
_BOM = b"\xef\xbb\xbf"


class ServerSentEvent(NamedTuple):
    """One event: its type (``message`` where none was given) and its data lines,
    joined by line feeds.

    ``data`` stays bytes, so that a byte that is not UTF-8 spoils one item of an array and not its
    neighbours.
    """

    event: str
    data: bytes


class SSEDecoder:
    """Takes a body in pieces of any size, and gives the same events as for the whole body.

    Comments, ``id``, ``retry`` and an event that the end of the body cuts off are ignored.
    """

    def __init__(self) -> None:
        self._rest = bytearray()  # a line that has not ended
        self._searched = 0  # bytes of it that hold no line end
        self._at_start = True
        self._after_cr = False
        self._event = b""
        self._data = bytearray()  # each line with a line feed behind it

    @property
    def buffered(self) -> int:
        """Bytes held for the event that has not ended yet."""
        return len(self._rest) + len(self._data)

    def feed(self, data: bytes) -> list[ServerSentEvent]:
        """Takes the next bytes of the body, and gives the events that they complete."""
        if self._after_cr and data:
            data = data.removeprefix(b"\n")  # the second half of a CRLF that was cut
            self._after_cr = False
        if not data:
            return []
        buffer = self._rest
        buffer += data
        if self._at_start:
            if len(buffer) < len(_BOM) and _BOM.startswith(buffer):
                return []
            if buffer.startswith(_BOM):
                del buffer[: len(_BOM)]
            self._at_start = False
        events: list[ServerSentEvent] = []
        begin, search = 0, self._searched
        while match := _LINE_END.search(buffer, search):
            if event := self._line(bytes(buffer[begin : match.start()])):
                events.append(event)
            begin = search = match.end()
        self._after_cr = bool(begin) and begin == len(buffer) and buffer.endswith(b"\r")
        del buffer[:begin]
        self._searched = len(buffer)
        return events

    def _line(self, line: bytes) -> ServerSentEvent | None:
        if not line:
            return self._dispatch()
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data += value
            self._data += b"\n"
        elif name == b"event":
            self._event = value
        return None

    def _dispatch(self) -> ServerSentEvent | None:
        event, data = self._event, self._data
        self._event, self._data = b"", bytearray()
        if not data:
            return None
        return ServerSentEvent(event.decode(errors="replace") or "message", bytes(data[:-1]))
