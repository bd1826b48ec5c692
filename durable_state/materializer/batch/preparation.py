"""Turns one change into the values of one row, or a refusal."""

from __future__ import annotations

import traceback
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from types import NoneType
from typing import Any

import msgspec
from django.core.exceptions import ValidationError
from msgspec import UNSET, UnsetType
from rest_framework.exceptions import ValidationError as RestValidationError

from durable_state.conversion import Refused
from durable_state.conversion.jsonable import jsonable
from durable_state.databases.statements import statement_bytes
from durable_state.errors import MappingFault
from durable_state.protocol import Change, Operation, encode_change
from durable_state.registry import EntityChange, EntityMapping

from ..plan import PlannedField, TypePlan, Values
from .defaults import overlay, value_left_out

__all__ = [
    "UNDECODABLE",
    "Prepared",
    "as_message",
    "complete",
    "from_bytes",
    "may_be_too_large",
    "overlay",
    "prepare",
    "to_bytes",
]

# Decimals stay numbers, so that a JSON document that was staged is the one that came.
_encode = msgspec.json.Encoder(enc_hook=jsonable, decimal_format="number").encode

_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode

STATEMENT = 1000
"""Bytes that a statement needs beside the message, generously."""

UNDECODABLE = (msgspec.MsgspecError, RecursionError, ArithmeticError)
"""What decoding raises; an ArithmeticError where an exponent is too large for a Decimal."""


class Prepared(msgspec.Struct, gc=False):
    """What one accepted change, or several merged ones, says of an entity."""

    key: str
    key_value: Any
    """The value of the key's column."""
    ordinal: int
    """Of the newest change."""
    raw: Values
    """What the mapping's ``prepare`` returned; parents are entity keys."""
    values: Values
    """The same converted; parents are still entity keys."""
    complete: bool
    """Whether fields that were left out have their defaults in ``values``; otherwise they keep what
    the row has.
    """
    body: bytes
    """The newest change, as it was on the wire."""


def prepare(plan: TypePlan, change: Change, ordinal: int) -> Prepared | None:
    """Runs the mapping and converts its values; None if the mapping returns None, for no row.

    Raises: Refused, for the change; MappingFault, where the mapping itself is wrong.
    """
    mapping = plan.mapping
    key_value = plan.key_value(change.key)
    if change.value is None:
        raise Refused("no-value", f"An {change.operation} without a value.")
    named = _run_mapping(plan, change, ordinal)
    if named is None:
        return None
    raw = _in_order(plan, named)
    partial = mapping.merges and change.operation == Operation.UPDATE
    prepared = Prepared(
        change.key, key_value, ordinal, raw, _convert(plan, raw), not partial, change.raw
    )
    if not partial:
        complete(plan, prepared)
    _check_size(plan, prepared)
    return prepared


def may_be_too_large(plan: TypePlan, body: bytes) -> bool:
    """Whether the message may be too large to be staged or parked, so that ``prepare`` has to find
    out.
    """
    return plan.largest_statement is not None and len(body) * 5 > plan.largest_statement


def _check_size(plan: TypePlan, prepared: Prepared) -> None:
    """Raises: Refused, if the change could not be staged or parked; so that it is refused alike
    everywhere.
    """
    if not may_be_too_large(plan, prepared.body):
        return
    size = statement_bytes([prepared.key, prepared.body, to_bytes(plan, prepared)])
    if size + STATEMENT > (plan.largest_statement or size):
        raise Refused(
            "too-long",
            f"The message is staged in {size} bytes, more than the database takes in one statement"
            f" (max_allowed_packet = {plan.largest_statement}).",
        )


def complete(plan: TypePlan, prepared: Prepared) -> None:
    """Gives the fields that were left out their defaults.

    Raises: Refused, where one has none and must not be NULL.
    """
    prepared.complete = True
    prepared.values = tuple(
        value_left_out(planned) if value is UNSET else value
        for planned, value in zip(plan.fields, prepared.values, strict=True)
    )


def to_bytes(plan: TypePlan, prepared: Prepared) -> bytes:
    """``raw`` as a JSON object by field name, for staging and parking."""
    if _WIRE_TYPES.issuperset(map(type, prepared.raw)):
        return _encode(_staged_struct(plan.mapping)(*prepared.raw))
    # Not left to msgspec, which drops the seconds of historical UTC offsets of datetimes.
    return _encode(
        {
            planned.name: jsonable(raw) if isinstance(raw, datetime) else raw
            for planned, raw in zip(plan.fields, prepared.raw, strict=True)
            if raw is not UNSET
        }
    )


_WIRE_TYPES = frozenset({str, int, float, bool, NoneType, list, dict, Decimal, UnsetType})
"""What a mapping that computes nothing gives; encoding a struct of it leaves UNSET out."""


@lru_cache(maxsize=1024)
def _staged_struct(mapping: EntityMapping) -> type[msgspec.Struct]:
    fields: list[Any] = [
        (f"field_{number}", Any, msgspec.field(default=UNSET, name=field.name))
        for number, field in enumerate(mapping.mapped_fields)
    ]
    return msgspec.defstruct("Staged", fields, gc=False)


def as_message(plan: TypePlan, prepared: Prepared, *, whole: bool = False) -> bytes:
    """The newest change as it was on the wire.

    If there is none, or the ``whole`` entity is wanted, a change that holds all its values.
    """
    if prepared.body and not whole:
        return prepared.body
    raw = [None if part is UNSET else part for part in prepared.raw]
    if plan.mapping.value_field is not None:
        value = raw[0]
    else:
        names = plan.mapping.wire_names.values()
        said = zip(names, raw, prepared.raw, strict=True)
        value = {name: part for name, part, given in said if given is not UNSET}
    return encode_change(plan.type, prepared.key, Operation.UPSERT, msgspec.Raw(_encode(value)))


def from_bytes(
    plan: TypePlan,
    key: str,
    ordinal: int,
    prepared_bytes: bytes | memoryview,
    body: bytes | memoryview,
) -> Prepared:
    """The opposite of ``to_bytes``: converts what was staged or parked again.

    Leaves out fields that the mapping no longer lists.

    Raises: Refused, if the mapping has changed so that a value no longer fits.
    """
    named = plan.decode(bytes(prepared_bytes))
    raw = tuple(named.get(planned.name, UNSET) for planned in plan.fields)
    prepared = Prepared(
        key, plan.key_value(key), ordinal, raw, _convert(plan, raw), True, bytes(body)
    )
    complete(plan, prepared)
    return prepared


def _run_mapping(plan: TypePlan, change: Change, ordinal: int) -> dict[str, Any] | None:
    try:
        value, old_value = _decode(plan, change)
    except UNDECODABLE as error:
        raise Refused("bad-value", f"The value cannot be decoded: {error}.") from error
    entity_change = EntityChange(
        plan.stream.name,
        change.type,
        change.key,
        str(change.operation),
        value,
        old_value,
        change.headers,
        ordinal,
    )
    try:
        raw = plan.mapping.prepare(entity_change)
    except Refused:
        raise
    except ValidationError as error:
        raise Refused(
            getattr(error, "code", None) or "invalid", "; ".join(error.messages)
        ) from error
    except RestValidationError as error:
        raise Refused("invalid", str(error.detail)) from error
    except Exception as error:
        raise MappingFault(
            f"{plan.mapping!r} failed on message {ordinal}: {type(error).__name__}{_place(error)}.",
            "Fix its prepare(), or let it raise ValidationError to make a dead letter. Then restart"
            " the workers, and resume.",
            f"It was {change.type} {change.key!r}. {type(error).__name__}: {error}.",
            change.type,
        ) from error
    if raw is None or isinstance(raw, dict):
        return raw
    raise MappingFault(
        f"{plan.mapping!r}: prepare() returned {type(raw).__name__}, not a dict or None.",
        "Fix it, restart the workers, and resume.",
    )


def _place(error: Exception) -> str:
    """The last line of the mapping's own code before the error: the end of its path, its number."""
    own = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)[1:]
        if "site-packages" not in frame.filename
    ]
    if not own:
        return ""
    folder, _, name = own[-1].filename.replace("\\", "/").rpartition("/")
    return f" at {folder.rpartition('/')[2]}/{name}:{own[-1].lineno}"


def _decode(plan: TypePlan, change: Change) -> tuple[Any, Any]:
    """The value and the old one.

    For a mapping without its own ``prepare``, the old one is not decoded, and members that it does
    not name do no harm.
    """
    value = change.value or b"null"
    if plan.has_own_prepare:
        return plan.decode(value), None if change.old_value is None else plan.decode(
            change.old_value
        )
    try:
        return plan.decode(value), None
    except UNDECODABLE:
        if plan.mapping.value_field is not None:
            raise
    members = _decode_members(value)
    return {
        wire: plan.decode(members[wire])
        for wire in plan.mapping.wire_names.values()
        if wire in members
    }, None


def _in_order(plan: TypePlan, named: dict[str, Any]) -> Values:
    """What ``prepare`` returned, in the plan's order. Raises: MappingFault, if it returned more."""
    if unlisted := named.keys() - plan.by_name.keys():
        raise MappingFault(
            f"{plan.mapping!r}: prepare() returned {', '.join(sorted(map(repr, unlisted)))},"
            " which the mapping does not list.",
            "Add it to `fields`; columns that are not listed are yours.",
        )
    return tuple(named.get(planned.name, UNSET) for planned in plan.fields)


def _convert(plan: TypePlan, raw: Values) -> Values:
    return tuple(
        UNSET if value is UNSET else _convert_one(planned, value)
        for planned, value in zip(plan.fields, raw, strict=True)
    )


def _convert_one(planned: PlannedField, raw: Any) -> Any:
    try:
        value = planned.convert(raw)
    except Refused as refused:
        raise Refused(refused.code, f"{planned.name}: {refused.detail}") from refused
    if value is None and planned.is_relation and not planned.field.null:
        raise Refused("null", f"{planned.name}: must not be null.")
    return value
