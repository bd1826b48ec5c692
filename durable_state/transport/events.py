"""Reads the body of an SSE read, whose messages count once a control event follows them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from durable_state.errors import ProtocolViolation
from durable_state.protocol import ArraySplitter, Message, SSEDecoder, decode

__all__ = ["SLICE", "EventBody", "Marker", "MessageTooLarge"]


class _Control(msgspec.Struct, rename="camel"):
    stream_next_offset: str
    stream_cursor: Any = None  # only for caches, so a wrong type must not stop the stream
    up_to_date: bool | None = None
    stream_closed: bool | None = None


_decode_control = msgspec.json.Decoder(_Control).decode


_EVENT = 64
"""Bytes that an event counts besides its data, so that too many empty events are noticed, too."""

SLICE = 16 * 1024
"""Bytes of an answer after which other tasks may run, because it may take long to split."""


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
    """A message is larger than the largest that is accepted."""


class EventBody:
    """Is fed the body, and yields a marker for each control event.

    Data events that no control event follows are never yielded.
    """

    def __init__(self) -> None:
        self._decoder = SSEDecoder()
        self._data: list[bytes] = []
        self._size = 0
        self.controls = 0

    @property
    def held(self) -> int:
        """How many bytes no control event has confirmed yet."""
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
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
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
    """The messages of a data event: an array, or a single message by itself.

    An event without data has none.
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
    for start in range(0, len(data), SLICE):
        yield splitter.feed(data[start : start + SLICE])
        if splitter.too_large:
            raise MessageTooLarge
    yield splitter.finish()
    if not splitter.complete:
        raise ProtocolViolation("The JSON array of an event is cut.", "Retrying automatically.")
