"""Decodes the JSON items of a stream into messages, each once, whatever it holds.

Only the envelope is decoded. ``value`` stays the JSON bytes from the wire until a mapping asks for
it.

Where a message has both ``control`` and ``operation``, a known control wins. An unknown control
beside an operation is ignored like any other unknown header, and so is one that is not a string.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import msgspec

from .messages import Change, Control, ControlKind, Malformed, Message, Operation, txid_text
from .scanner import MAX_DEPTH, too_deep

__all__ = ["decode", "decode_valid"]


class _Marks(msgspec.Struct, gc=False):
    operation: Operation | None = None
    control: Any = None
    txid: Any = None


_NOTHING = msgspec.Raw(b"")
_SHALLOW = 2 * MAX_DEPTH
"""Bytes that an item needs at least to nest too deeply."""

_PEEK = 1024 * 1024
"""Bytes of an unreadable item up to which its type and key are looked for."""


class _Envelope(msgspec.Struct, gc=False):
    headers: _Marks
    type: str = ""
    key: str = ""
    value: msgspec.Raw = _NOTHING
    old_value: msgspec.Raw = _NOTHING


class _Loose(msgspec.Struct, gc=False):
    """The same envelope, taking whatever JSON there is in each place."""

    headers: msgspec.Raw = _NOTHING
    type: msgspec.Raw = _NOTHING
    key: msgspec.Raw = _NOTHING
    value: msgspec.Raw = _NOTHING
    old_value: msgspec.Raw = _NOTHING


class _LooseMarks(msgspec.Struct, gc=False):
    operation: msgspec.Raw = _NOTHING
    control: msgspec.Raw = _NOTHING
    txid: msgspec.Raw = _NOTHING


_decode_envelope = msgspec.json.Decoder(_Envelope).decode
_decode_loose = msgspec.json.Decoder(_Loose).decode
_decode_marks = msgspec.json.Decoder(_LooseMarks).decode
_decode_raw = msgspec.json.Decoder(msgspec.Raw).decode
_split = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_envelopes = msgspec.json.Decoder(list[_Envelope]).decode


def decode(item: bytes, depth: int | None = None) -> Message:
    """Makes one message of any bytes at all; never raises. Spec: STATE-PROTOCOL.md 5.

    ``depth`` is how deeply the item nests; without it, that is measured.
    """
    item = item.strip(b" \t\r\n")
    try:
        item.decode()
    except UnicodeDecodeError:
        return _not_json(item)
    if too_deep(item) if depth is None else depth > MAX_DEPTH:
        return _not_json(item)
    return _decode_shallow(item)


def decode_valid(array: bytes) -> list[Message] | None:
    """The messages of one array, or None where msgspec refuses it as a whole.

    It refuses a cut array, and one that holds an item which it cannot read (a lone surrogate, say).
    """
    try:
        items = _split(array)
    except (msgspec.MsgspecError, RecursionError):
        return None
    if not _is_utf8(array):
        return [decode(bytes(item)) for item in items]
    try:
        envelopes = _decode_envelopes(array)
    except (msgspec.MsgspecError, RecursionError):
        return [decode(bytes(item)) for item in items]
    messages: list[Message] = []
    for raw, envelope in zip(items, envelopes, strict=True):
        item = bytes(raw)
        if len(item) > _SHALLOW and too_deep(item):
            messages.append(_not_json(item))
        else:
            messages.append(_message(item, envelope))
    return messages


def _decode_shallow(item: bytes) -> Message:
    if not item.startswith(b"{"):
        return _classify(item)
    try:
        envelope = _decode_envelope(item)
    except (msgspec.MsgspecError, RecursionError):
        return _classify(item)
    return _message(item, envelope)


def _message(item: bytes, envelope: _Envelope) -> Message:
    marks = envelope.headers
    operation = marks.operation
    if marks.control is not None or operation is None or not envelope.type or not envelope.key:
        return _classify(item)
    txid, old_value = marks.txid, envelope.old_value
    return Change(
        envelope.type,
        envelope.key,
        operation,
        bytes(envelope.value) or None,
        None if old_value is _NOTHING else bytes(old_value),
        txid if isinstance(txid, str) else txid_text(txid),
        item,
    )


def _classify(item: bytes) -> Message:
    """Classifies an item that is not a plain change, one field at a time: each may be anything."""
    try:
        if not item.startswith(b"{"):
            _decode_raw(item)
            return Malformed("not-an-object", item)
        loose = _decode_loose(item)
    except (msgspec.MsgspecError, RecursionError):
        return _not_json(item)
    type_, key = _text(loose.type), _text(loose.key)
    try:
        marks = _decode_marks(loose.headers)
    except (msgspec.MsgspecError, RecursionError):
        return Malformed("bad-headers", item, type_, key)
    control, operation = _text(marks.control), _text(marks.operation)
    if control is not None:
        if control in _CONTROLS:
            return Control(ControlKind(control), item)
        if operation is None:
            return Malformed("unknown-control", item, type_, key)
    if reason := _flaw(type_, key, operation, bytes(marks.operation)):
        return Malformed(reason, item, type_ or None, key or None)
    assert type_ is not None
    assert key is not None
    assert operation is not None
    return Change(
        type_,
        key,
        Operation(operation),
        bytes(loose.value) or None,
        bytes(loose.old_value) or None,
        _txid(marks.txid),
        item,
    )


_CONTROLS = frozenset(ControlKind)
_OPERATIONS = frozenset(Operation)


def _flaw(
    type_: str | None, key: str | None, operation: str | None, raw_operation: bytes
) -> str | None:
    if not type_:
        return "no-type"
    if not key:
        return "no-key"
    if operation in _OPERATIONS:
        return None
    return "no-operation" if raw_operation in (b"", b"null") else "unknown-operation"


def _text(raw: msgspec.Raw) -> str | None:
    """The string that ``raw`` holds, or None where it holds anything else."""
    if not bytes(raw).startswith(b'"'):
        return None
    try:
        return str(msgspec.json.decode(raw))
    except msgspec.MsgspecError:
        return None


def _txid(raw: msgspec.Raw) -> str | None:
    """The transaction that ``raw`` spells, or None."""
    try:
        return txid_text(msgspec.json.decode(raw)) if raw else None
    except (msgspec.MsgspecError, RecursionError):
        return None


class _Named(NamedTuple):
    type: str | None
    key: str | None


def _not_json(item: bytes) -> Malformed:
    named = _peek(item)
    return Malformed("bad-json", item, named.type, named.key)


def _peek(item: bytes) -> _Named:
    """Reads type and key with Python's more lenient decoder.

    So an operator sees which entity an unreadable item was about. A large item is not worth what
    Python would make of it.
    """
    if len(item) > _PEEK:
        return _Named(None, None)
    try:
        found = json.loads(item)
    except (ValueError, RecursionError):
        return _Named(None, None)
    if not isinstance(found, dict):
        return _Named(None, None)
    return _Named(*(_storable(found.get(name)) for name in ("type", "key")))


def _storable(text: Any) -> str | None:
    if not isinstance(text, str) or not text:
        return None
    try:
        text.encode()
    except UnicodeEncodeError:
        return None
    return text


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True
