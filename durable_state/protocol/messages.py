"""The messages of the State Protocol: changes, controls, and malformed items.

Spec: STATE-PROTOCOL.md 4 and 5.
"""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Any, Final

import msgspec

__all__ = [
    "ABSENT",
    "Change",
    "Control",
    "ControlKind",
    "Malformed",
    "Message",
    "Operation",
    "encode_change",
    "encode_control",
    "txid_text",
]

ABSENT: Final = msgspec.UNSET
"""Stands for a ``value`` or ``old_value`` that the message does not have.

JSON ``null`` is ``None``.
"""


class Operation(StrEnum):
    """What a change does to its entity.

    Spec: STATE-PROTOCOL.md 4.1; ``upsert`` is what the reference client writes besides.
    """

    INSERT = "insert"
    UPDATE = "update"
    UPSERT = "upsert"
    DELETE = "delete"


class ControlKind(StrEnum):
    """What a control message says about the stream. Spec: STATE-PROTOCOL.md 4.2."""

    SNAPSHOT_START = "snapshot-start"
    SNAPSHOT_END = "snapshot-end"
    RESET = "reset"


class Change(msgspec.Struct, frozen=True, gc=False):
    """One entity was set or removed."""

    type: str
    """The entity type."""
    key: str
    """The entity key."""
    operation: Operation
    value: bytes | None
    """Raw JSON, or None where the message has none (``b"null"`` is JSON null).

    It is valid by grammar and in UTF-8. Grammar does not bound numbers: decoding ``1e999`` still
    fails.
    """
    old_value: bytes | None
    """As ``value``, before the change."""
    txid: str | None
    """Opaque; None where the message names none. A whole number is spelled as text."""
    raw: bytes
    """The whole message as it was on the wire."""

    @property
    def headers(self) -> dict[str, Any]:
        """The message's headers, decoded now;
        empty where a number in them cannot be represented.
        """
        try:
            return _decode_headers(_decode_headed(self.raw).headers)
        except (msgspec.MsgspecError, RecursionError):
            return {}


class Control(msgspec.Struct, frozen=True, gc=False):
    """A snapshot begins or ends, or everything before is void."""

    kind: ControlKind
    raw: bytes


class Malformed(msgspec.Struct, frozen=True, gc=False):
    """An item that is no message of the State Protocol.

    ``reason`` is one of ``not-an-object``, ``no-type``, ``no-key``, ``no-operation``,
    ``unknown-operation``, ``unknown-control``, ``bad-headers`` and ``bad-json``; ``type`` and
    ``key`` are there where they could be read.
    """

    reason: str
    raw: bytes
    type: str | None = None
    key: str | None = None


Message = Change | Control | Malformed


class _Headed(msgspec.Struct, gc=False):
    headers: msgspec.Raw


_decode_headed = msgspec.json.Decoder(_Headed).decode
_decode_headers = msgspec.json.Decoder(dict[str, Any]).decode
_encode = msgspec.json.Encoder().encode


def encode_change(
    type: str,
    key: str,
    operation: Operation | str,
    value: Any = ABSENT,
    old_value: Any = ABSENT,
    **headers: Any,
) -> bytes:
    """One change message as JSON. ``value`` may be a ``msgspec.Raw``;
    a header that is None is left out. Spec: STATE-PROTOCOL.md 5.1.

    Raises: ValueError for NaN and infinities, which would become null without a word.
    """
    for each in (value, old_value):
        _require_json_numbers(each)
    message: dict[str, Any] = {"type": type, "key": key}
    if value is not ABSENT:
        message["value"] = value
    if old_value is not ABSENT:
        message["old_value"] = old_value
    message["headers"] = {"operation": Operation(operation)} | {
        k: v for k, v in headers.items() if v is not None
    }
    return _encode(message)


def _require_json_numbers(value: Any) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"JSON has no {value}: leave the value out, or send null or a text.")
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, (list, tuple)):
        return
    for each in value:
        _require_json_numbers(each)


def encode_control(kind: ControlKind | str, **headers: Any) -> bytes:
    """One control message as JSON. Spec: STATE-PROTOCOL.md 5.2."""
    return _encode(
        {
            "headers": {"control": ControlKind(kind)}
            | {k: v for k, v in headers.items() if v is not None}
        }
    )


def txid_text(txid: Any) -> str | None:
    """A transaction as its writer waits for it: a text, or a whole number as text; else None."""
    if isinstance(txid, str):
        return txid
    if isinstance(txid, int) and not isinstance(txid, bool) and txid.bit_length() <= 64:
        return str(txid)
    return None
