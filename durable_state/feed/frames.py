"""Frames: what a subscriber receives, and the token by which it resumes.

A frame is one JSON object with three keys, ``{"items": [...], "offset": "<resume token>",
"upToDate": bool}``. An item is a State Protocol change (``type``, ``key``, ``value``,
``headers.operation``) or control (``headers.control``). Rows of a snapshot are ``insert``, rows of
a live commit ``update`` (whether they are new to the subscriber only the subscriber knows) or
``delete``.

A frame names the transactions about entities that the subscriber sees, or saw, whatever became of
their changes. If a commit has one such txid, all of its items carry it in ``headers.txid``; if it
has several, its first item lists them in ``headers.txids`` (its first few, if they are very many).
If the commit changed nothing that the subscriber sees, a single item carries them: an entity as it
already is. Spec: STATE-PROTOCOL.md, change and control messages.
"""

from __future__ import annotations

import json
import time
from typing import Any, NamedTuple

import msgspec

from durable_state.conversion.jsonable import as_shown, jsonable
from durable_state.models import Stream

__all__ = [
    "FROM_START",
    "Frame",
    "Item",
    "ItemHeaders",
    "Token",
    "control",
    "encode_frame",
    "encode_frames",
    "encode_items",
    "encode_value",
    "group_txids",
    "stream_identity",
]

FROM_START = "-1"
"""The token from which a subscriber gets everything; the protocol's word for a stream's start."""

FRAME_BYTES = 256 * 1024
"""Bytes of values in one frame, unless a single one is larger.

Clients limit what they take at once, many to one MiB.
"""

FRONTS = 4
"""Fronts for which a frame keeps its message. Most sockets use the same subscription ids."""

_encoder = msgspec.json.Encoder(enc_hook=jsonable)


class ItemHeaders(msgspec.Struct, omit_defaults=True):
    """The headers of a change (``operation``) or of a control (``control``)."""

    operation: str = ""
    control: str = ""
    txid: str = ""
    txids: list[str] = []


class Item(msgspec.Struct, omit_defaults=True, kw_only=True):
    """One State Protocol message, with its ``value`` already encoded."""

    type: str = ""
    key: str | msgspec.UnsetType = msgspec.UNSET
    value: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    headers: ItemHeaders

    @property
    def size(self) -> int:
        """About how many bytes it takes."""
        value = 0 if self.value is msgspec.UNSET else memoryview(self.value).nbytes
        return value + sum(map(len, self.headers.txids))

    def repeated(self) -> Item:
        """The same change again, without its transactions; applying it twice changes nothing."""
        headers = ItemHeaders(operation=self.headers.operation)
        return Item(type=self.type, key=self.key, value=self.value, headers=headers)


class Token(NamedTuple):
    """A place in a stream's feed, as one audience sees it.

    ``identity`` names the stream, ``signature`` what the audience sees of it, ``revision`` the last
    commit received, and ``stamp`` tells it from another commit of the same number (0: unknown). A
    token does not match if the stream was removed and added again, if the type filter differs, or
    if a permission or a mapping has changed; the client then gets a snapshot.
    """

    identity: str
    signature: str
    revision: int
    stamp: int = 0

    def __str__(self) -> str:
        return f"{self.identity}.{self.signature}.{self.stamp}.{self.revision}"

    @classmethod
    def parse(cls, text: str) -> Token | None:
        """The token that ``text`` spells, or None."""
        parts = text.split(".") if len(text) <= 200 else []
        if len(parts) != 4 or not all(each.isascii() and each.isdigit() for each in parts[2:]):
            return None
        identity, signature, stamp, revision = parts
        return cls(identity, signature, int(revision), int(stamp))


class Frame(str):
    """The text of one frame, which many sockets share, and the ASGI message that sends it."""

    offset: str
    up_to_date: bool
    message: dict[str, Any]
    """The ASGI message. All sockets share it, so do not change it."""
    made_at: float
    """On the monotonic clock."""
    _messages: dict[str, dict[str, Any]] | None = None

    def __new__(cls, text: str, offset: str = FROM_START, up_to_date: bool = False) -> Frame:
        """The frame of that text, and what the text says of where its receiver is."""
        frame = super().__new__(cls, text)
        frame.offset, frame.up_to_date = offset, up_to_date
        frame.made_at = time.monotonic()
        frame.message = {"type": "websocket.send", "text": text}
        return frame

    def message_with(self, front: str) -> dict[str, Any]:
        """The message with ``front``, such as ``"id":"1",``, inserted before the first key.

        It is kept and shared like ``message``.
        """
        if self._messages is None:
            self._messages = {}
        message = self._messages.get(front)
        if message is None:
            if len(self._messages) == FRONTS:
                self._messages.clear()
            message = self._messages[front] = self.message | {"text": "{" + front + self[1:]}
        return message


def stream_identity(stream: Stream) -> str:
    """A name for this stream alone.

    A stream that is removed and added again gets another one, even with the same primary key.
    """
    return f"{stream.pk}-{int(stream.created_at.timestamp() * 1_000_000):x}"


def encode_value(value: Any) -> bytes:
    """Any value from ``represent`` as JSON; text for types that JSON or JavaScript lacks."""
    plain = as_shown(value)
    try:
        return _encoder.encode(plain)
    except (UnicodeEncodeError, OverflowError):
        # A lone surrogate, which JSON can spell and UTF-8 cannot; an integer beyond 64 bits.
        return json.dumps(plain).encode()


def control(name: str) -> Item:
    """The control ``snapshot-start`` or ``snapshot-end``."""
    return Item(headers=ItemHeaders(control=name))


def group_txids(txids: list[str]) -> list[list[str]]:
    """Splits transactions into groups, one per item; very many need more than one."""
    groups: list[list[str]] = [[]]
    held = 0
    for txid in txids:
        if groups[-1] and held + len(txid) > FRAME_BYTES:
            groups.append([])
            held = 0
        groups[-1].append(txid)
        held += len(txid)
    return groups


def encode_frame(items: list[Item], offset: str, up_to_date: bool) -> Frame:
    """One frame."""
    text = _encoder.encode({"items": items, "offset": offset, "upToDate": up_to_date})
    return Frame(text.decode(), offset, up_to_date)


def encode_items(items: list[Item]) -> bytes:
    """The items as one JSON array, on one line."""
    return _encoder.encode(items)


def encode_frames(
    items: list[Item], before: str, after: str, up_to_date: bool
) -> tuple[Frame, ...]:
    """One frame, or several if the values are large.

    Only the last one has the token ``after`` and ``up_to_date``, so a subscriber who leaves between
    two of them gets all of them again.
    """
    groups: list[list[Item]] = [[]]
    held = 0
    for item in items:
        if groups[-1] and held + item.size > FRAME_BYTES:
            groups.append([])
            held = 0
        groups[-1].append(item)
        held += item.size
    texts = [encode_frame(group, before, False) for group in groups[:-1]]
    return (*texts, encode_frame(groups[-1], after, up_to_date))
