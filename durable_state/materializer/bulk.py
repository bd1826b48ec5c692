"""Preparing many changes at once: one call of the decoder reads their values, typed as the columns are, and so checks them too.

An optimization that could be left out: it gives what ``prepare`` gives for each change alone, or nothing where it cannot be sure of that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import lru_cache
from itertools import repeat
from operator import is_
from typing import Any, NamedTuple

import msgspec
from django.db import models
from msgspec import UNSET, UnsetType

from durable_state.protocol import Change
from durable_state.registry import EntityMapping

from .conversion import Refused, convert_all, longest_plain_key, wire_type
from .plan import PlannedField, TypePlan, Values
from .preparation import UNDECODABLE, Prepared, complete

__all__ = ["prepare_together"]

CHUNKS = (512, 32)
"""Changes whose values are decoded by one call: many, and where one of them is not plain, fewer; those beside it then go to ``prepare``."""

_astuple = msgspec.structs.astuple


def prepare_together(plan: TypePlan, ordinals: Sequence[int], changes: Sequence[Change]) -> Sequence[Prepared | None]:
    """What ``prepare`` gives for each of these changes, or None where it has to be asked. None may be a partial update or without value."""
    shape = _shape(plan.mapping, frozenset(p.name for p in plan.fields if p.parent is not None))
    if shape is None:
        return [None] * len(changes)
    return _in_chunks(plan, shape, ordinals, changes, *CHUNKS)


def _in_chunks(
    plan: TypePlan, shape: _Shape, ordinals: Sequence[int], changes: Sequence[Change], size: int, *smaller: int
) -> Sequence[Prepared | None]:
    together: list[Prepared | None] = []
    for start in range(0, len(changes), size):
        chunk = ordinals[start : start + size], changes[start : start + size]
        try:
            together += _prepare_chunk(plan, shape, *chunk)
        except (*UNDECODABLE, Refused):
            together += _in_chunks(plan, shape, *chunk, *smaller) if smaller else [None] * len(chunk[1])
    return together


class _Shape(NamedTuple):
    """How the values of one mapping are decoded.

    ``passing`` has for each field the types of decoded values that its conversion gives back unchanged; None: all of them. Keys of at
    most ``longest_key`` characters are the key column's values as they are.
    """

    decode: Callable[[bytes], list[Any]]
    passing: list[frozenset[type] | None]
    longest_key: int


@lru_cache(maxsize=1024)
def _shape(mapping: EntityMapping, with_parent: frozenset[str]) -> _Shape | None:
    """None where the mapping has its own way to prepare, or where a decoder cannot tell its fields apart."""
    wire_names = list(mapping.wire_names.values())
    if type(mapping).prepare is not EntityMapping.prepare or not mapping.mapped_fields:
        return None
    if len(set(wire_names)) < len(wire_names):
        return None
    exact = any(isinstance(field, models.DecimalField) for field in mapping.mapped_fields)
    types: list[Any] = []
    passing: list[frozenset[type] | None] = []
    for field in mapping.mapped_fields:
        value_type, passes = wire_type(field)
        if field.name in with_parent:
            value_type, passes = str | int | None if field.null else str | int, frozenset({str})
        elif exact and isinstance(field, models.JSONField):
            value_type, passes = Any, frozenset()  # its numbers come as Decimals then
        types.append(value_type)
        passing.append(None if passes is None else passes | {UnsetType})
    if mapping.value_field is not None:
        whole = types[0]
    else:
        fields = [
            (f"field_{number}", value_type | UnsetType, msgspec.field(default=UNSET, name=wire))
            for number, (value_type, wire) in enumerate(zip(types, wire_names, strict=True))
        ]
        try:
            whole = msgspec.defstruct("Value", fields, gc=False)
        except ValueError:  # a wire name with a quote, a backslash or a control character
            return None
    decoder = msgspec.json.Decoder(list[whole], float_hook=Decimal if exact else None)  # type: ignore[valid-type]
    return _Shape(decoder.decode, passing, longest_plain_key(mapping.key))


def _prepare_chunk(plan: TypePlan, shape: _Shape, ordinals: Sequence[int], changes: Sequence[Change]) -> list[Prepared]:
    """Raises: Refused, or what decoding does, where any of the changes is not plain."""
    body = b"[%b]" % b",".join([change.value or b"" for change in changes])
    if b"\\u0000" in body:
        raise Refused("nul", "A NUL, or what looks like one.")
    decoded = shape.decode(body)
    is_whole_value = plan.mapping.value_field is not None
    raw: list[Values] = list(zip(decoded, strict=True)) if is_whole_value else list(map(_astuple, decoded))
    columns = list(zip(*raw, strict=True))
    converted = [
        column if passes is None or passes.issuperset(map(type, column)) else _convert(planned, column, passes)
        for planned, column, passes in zip(plan.fields, columns, shape.passing, strict=True)
    ]
    unchanged = all(map(is_, columns, converted))
    values = raw if unchanged else list(zip(*converted, strict=True))
    keys = [change.key for change in changes]
    is_plain = max(map(len, keys)) <= shape.longest_key and "\0" not in "".join(keys)
    key_values = keys if is_plain else list(map(plan.key_value, keys))
    bodies = [change.raw for change in changes]
    together = list(map(Prepared, keys, key_values, ordinals, raw, values, repeat(True), bodies))
    if any(UNSET in column for column in columns):
        for prepared in together:
            complete(plan, prepared)
    return together


def _convert(planned: PlannedField, column: Sequence[Any], passes: frozenset[type]) -> Sequence[Any]:
    at_once = convert_all(planned.field, column)
    if at_once is not None:
        return at_once
    convert = planned.convert
    return [value if type(value) in passes else convert(value) for value in column]
