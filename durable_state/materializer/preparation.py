"""One change becomes the values of one row, or a refusal."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
from django.core.exceptions import ValidationError
from django.db.models import Value
from django.db.models.expressions import DatabaseDefault
from rest_framework.exceptions import ValidationError as RestValidationError

from durable_state.errors import MappingFault
from durable_state.protocol import Change, Operation, encode_change
from durable_state.registry import EntityChange
from durable_state.registry.represent import jsonable

from .conversion import Refused, absent
from .plan import PlannedField, TypePlan

__all__ = ["UNDECODABLE", "Prepared", "as_message", "complete", "from_bytes", "from_raw", "prepare", "to_bytes"]

# Decimals stay numbers, so that a JSON document that was staged is the one that came.
_encode = msgspec.json.Encoder(enc_hook=jsonable, decimal_format="number").encode

_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode

UNDECODABLE = (msgspec.MsgspecError, RecursionError, ArithmeticError)
"""What decoding raises: the last where an exponent is too long for a Decimal."""


class Prepared(msgspec.Struct, gc=False):
    """What one accepted change, or several merged ones, say of an entity.

    ``raw`` is what the mapping's ``prepare`` gave, ``values`` the same converted, both by field name; parents are still entity keys.
    ``body`` is the newest change, as it was on the wire. ``complete`` means that fields left out take their default; otherwise they keep what the row has.
    """

    key: str
    key_value: Any
    ordinal: int
    raw: dict[str, Any]
    values: dict[str, Any]
    complete: bool
    body: bytes


def prepare(plan: TypePlan, change: Change, ordinal: int) -> Prepared | None:
    """Runs the mapping and converts its values; None where the mapping wants no row.

    Raises: Refused, for the change; MappingFault, where the mapping itself is wrong.
    """
    mapping = plan.mapping
    key_value = plan.key_value(change.key)
    if change.value is None:
        raise Refused("no-value", f"An {change.operation} without a value.")
    raw = _run_mapping(plan, change, ordinal)
    if raw is None:
        return None
    partial = mapping.merges and change.operation == Operation.UPDATE
    prepared = Prepared(change.key, key_value, ordinal, raw, _convert(plan, raw), not partial, change.raw)
    if not partial:
        complete(plan, prepared)
    return prepared


def complete(plan: TypePlan, prepared: Prepared) -> None:
    """Gives the fields that were left out their default. Raises: Refused, where one has none and must not be NULL."""
    prepared.complete = True
    if len(prepared.values) == len(plan.fields):
        return
    for planned in plan.fields:
        if planned.name in prepared.values:
            continue
        default = _default(planned)
        if default is None and not planned.field.null:
            raise Refused("null", f"{planned.name} is left out, has no default and must not be NULL.")
        prepared.values[planned.name] = absent(planned.field) if default is None else default


def _default(planned: PlannedField) -> Any:
    """A field's default as it reads when it was stored, so that a row that has it is seen to be equal."""
    default = planned.field.get_default()
    if isinstance(default, DatabaseDefault):
        expression = default.expression  # type: ignore[attr-defined]
        default = expression.value if isinstance(expression, Value) else expression
    if default is None or planned.is_relation or hasattr(default, "resolve_expression"):
        return default
    try:
        return planned.convert(default)
    except Refused:
        return planned.field.to_python(default)  # looser: no stream may say 5 for a text, the application may


def to_bytes(prepared: Prepared) -> bytes:
    """``raw`` as JSON, for staging and parking."""
    # Python's datetimes by our own hand: msgspec rounds the seconds of historical UTC offsets away.
    return _encode({name: jsonable(raw) if isinstance(raw, datetime) else raw for name, raw in prepared.raw.items()})


def as_message(plan: TypePlan, prepared: Prepared) -> bytes:
    """The newest change as it was on the wire; for a row that was parked without one, a change that says what the row said."""
    if prepared.body:
        return prepared.body
    mapping = plan.mapping
    named = {wire: prepared.raw.get(name) for name, wire in mapping.wire_names.items()}
    value = named if mapping.value_field is None else prepared.raw.get(mapping.value_field)
    return encode_change(plan.type, prepared.key, Operation.UPSERT, msgspec.json.decode(_encode(value)))


def from_bytes(
    plan: TypePlan, key: str, ordinal: int, prepared_bytes: bytes | memoryview, body: bytes | memoryview
) -> Prepared:
    """The opposite of ``to_bytes``; see ``from_raw``."""
    return from_raw(plan, key, ordinal, plan.decode(bytes(prepared_bytes)), bytes(body))


def from_raw(plan: TypePlan, key: str, ordinal: int, raw: dict[str, Any], body: bytes) -> Prepared:
    """Converts what was staged or parked anew; fields that the mapping no longer lists are left out.

    Raises: Refused, where the mapping has changed so that a value does not fit any more.
    """
    raw = {name: value for name, value in raw.items() if name in plan.by_name}
    prepared = Prepared(key, plan.key_value(key), ordinal, raw, _convert(plan, raw), True, body)
    complete(plan, prepared)
    return prepared


def _run_mapping(plan: TypePlan, change: Change, ordinal: int) -> dict[str, Any] | None:
    try:
        value, old_value = _decode(plan, change)
    except UNDECODABLE as error:
        raise Refused("bad-value", f"The value cannot be decoded: {error}.") from error
    entity_change = EntityChange(
        plan.stream.name, change.type, change.key, str(change.operation), value, old_value, change.headers, ordinal
    )
    try:
        raw = plan.mapping.prepare(entity_change)
    except Refused:
        raise
    except ValidationError as error:
        raise Refused(getattr(error, "code", None) or "invalid", "; ".join(error.messages)) from error
    except RestValidationError as error:
        raise Refused("invalid", str(error.detail)) from error
    except Exception as error:
        raise MappingFault(
            f"{plan.mapping!r} failed on message {ordinal} ({change.type} {change.key!r}): {type(error).__name__}: {error}.",
            "Mend its prepare(), or let it raise ValidationError to make a dead letter, then resume.",
        ) from error
    if raw is None or isinstance(raw, dict):
        return raw
    raise MappingFault(
        f"{plan.mapping!r}: prepare() returned {type(raw).__name__}, not a dict or None.", "Mend it, then resume."
    )


def _decode(plan: TypePlan, change: Change) -> tuple[Any, Any]:
    """The value and the old one; a mapping that only names members neither sees the old one nor stumbles over members it does not name."""
    value = change.value or b"null"
    if plan.has_own_prepare:
        return plan.decode(value), None if change.old_value is None else plan.decode(change.old_value)
    try:
        return plan.decode(value), None
    except UNDECODABLE:
        if plan.mapping.value_field is not None:
            raise
    members = _decode_members(value)
    return {wire: plan.decode(members[wire]) for wire in plan.mapping.wire_names.values() if wire in members}, None


def _convert(plan: TypePlan, raw: dict[str, Any]) -> dict[str, Any]:
    values = {}
    for name, value in raw.items():
        planned = plan.by_name.get(name)
        if planned is None:
            raise MappingFault(
                f"{plan.mapping!r}: prepare() returned {name!r}, which the mapping does not list.",
                "Add it to `fields`; columns that are not listed are the application's.",
            )
        try:
            values[name] = planned.convert(value)
        except Refused as refused:
            raise Refused(refused.code, f"{name}: {refused.detail}") from refused
        if values[name] is None and planned.is_relation and not planned.field.null:
            raise Refused("null", f"{name}: must not be null.")
    return values
