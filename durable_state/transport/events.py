"""The body of an SSE read: messages count once the control event behind them is here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from durable_state.errors import ProtocolViolation
from durable_state.protocol import Message, SSEDecoder, decode, decode_items

__all__ = ["EventBody", "Marker"]


class _Control(msgspec.Struct, rename="camel"):
    stream_next_offset: str
    stream_cursor: str | None = None
    up_to_date: bool = False
    stream_closed: bool = False


_decode_control = msgspec.json.Decoder(_Control).decode


@dataclass(frozen=True, slots=True)
class Marker:
    """One control event with the messages that it confirms. Spec: PROTOCOL.md 5.8."""

    messages: list[Message]
    next_offset: str
    at_tail: bool
    closed: bool
    cursor: str | None


class EventBody:
    """Feed it the body; it gives a marker for each control event. What no control event follows is never given."""

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
        """Take the next bytes. Raises: ProtocolViolation for a control event, or an array, that cannot be read."""
        for event in self._decoder.feed(data):
            if event.event == "data":
                self._data.append(event.data)
                self._size += len(event.data)
            elif event.event == "control":
                yield self._marker(event.data)

    def _marker(self, data: bytes) -> Marker:
        try:
            control = _decode_control(data)
        except (msgspec.MsgspecError, RecursionError) as error:
            raise ProtocolViolation(
                f"A control event cannot be read: {error}.", "It is read again by itself."
            ) from error
        messages = [message for data in self._data for message in _messages(data)]
        self._data.clear()
        self._size = 0
        self.controls += 1
        at_tail = control.up_to_date or control.stream_closed
        return Marker(
            messages,
            control.stream_next_offset,
            at_tail,
            control.stream_closed,
            control.stream_cursor,
        )


def _messages(data: bytes) -> list[Message]:
    """The protocol shows arrays, and allows a single message to come as itself."""
    return decode_items(data) if data.lstrip(b" \t\r\n").startswith(b"[") else [decode(data)]
