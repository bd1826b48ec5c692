"""The body of an SSE read: messages count once the control event behind them is here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from durable_state.errors import ProtocolViolation
from durable_state.protocol import ArraySplitter, Message, SSEDecoder, decode

__all__ = ["EventBody", "Marker", "MessageTooLarge"]


class _Control(msgspec.Struct, rename="camel"):
    stream_next_offset: str
    stream_cursor: Any = None  # what serves caches alone must not hold up the stream
    up_to_date: bool | None = None
    stream_closed: bool | None = None


_decode_control = msgspec.json.Decoder(_Control).decode


_EVENT = 64
"""Bytes that an event counts for besides its data, so that many without any are too much too."""

_SLICE = 16 * 1024


@dataclass(frozen=True, slots=True)
class Marker:
    """One control event and the data events that it confirms. Spec: PROTOCOL.md 5.8."""

    data: list[bytes]
    next_offset: str
    up_to_date: bool
    closed: bool
    cursor: str | None

    def split(self, largest: int) -> Iterator[list[Message]]:
        """The messages, a bounded part at a time. Raises: ProtocolViolation, MessageTooLarge."""
        for data in self.data:
            yield from _split(data, largest)


class MessageTooLarge(Exception):
    """A message is larger than what is taken."""


class EventBody:
    """Is fed the body, and gives a marker for each control event.

    What no control event follows is never given.
    """

    def __init__(self) -> None:
        self._decoder = SSEDecoder()
        self._data: list[bytes] = []
        self._size = 0
        self.controls = 0

    @property
    def held(self) -> int:
        """Bytes that no control event has confirmed yet."""
        return self._size + self._decoder.buffered

    def feed(self, data: bytes) -> Iterator[Marker]:
        """Takes the next bytes.

        Raises: ProtocolViolation for a control event, or an array, that cannot be read.
        """
        for event in self._decoder.feed(data):
            if event.event == "data":
                self._data.append(event.data)
                self._size += len(event.data) + _EVENT
            elif event.event == "control":
                yield self._marker(event.data)

    def _marker(self, data: bytes) -> Marker:
        try:
            control = _decode_control(data)
        except (msgspec.MsgspecError, RecursionError) as error:
            raise ProtocolViolation(
                f"A control event cannot be read: {error}.", "Retrying automatically."
            ) from error
        confirmed, self._data, self._size = self._data, [], 0
        self.controls += 1
        closed = bool(control.stream_closed)
        up_to_date = closed or bool(control.up_to_date)
        cursor = control.stream_cursor
        return Marker(
            confirmed,
            control.stream_next_offset,
            up_to_date,
            closed,
            str(cursor) if isinstance(cursor, (str, int)) else None,
        )


def _split(data: bytes, largest: int) -> Iterator[list[Message]]:
    """The protocol shows arrays, and allows a single message to come as itself.

    An event without data brings none.
    """
    written = data.lstrip(b" \t\r\n")
    if not written:
        return
    if not written.startswith(b"["):
        if len(data) > largest:
            raise MessageTooLarge
        yield [decode(data)]
        return
    splitter = ArraySplitter(largest)
    for start in range(0, len(data), _SLICE):
        yield splitter.feed(data[start : start + _SLICE])
        if splitter.too_large:
            raise MessageTooLarge
    yield splitter.finish()
    if not splitter.complete:
        raise ProtocolViolation("The JSON array of an event is cut.", "Retrying automatically.")
