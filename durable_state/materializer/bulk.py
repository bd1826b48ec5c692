"""Preparing many changes at once: one call of the decoder reads their values, typed as the columns are, and so checks them too.

An optimization that could be left out: it gives what ``prepare`` gives for each change alone, or nothing where it cannot be sure of that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec
from django.db import models
from msgspec import UNSET, UnsetType

from durable_state.protocol import Change
from durable_state.registry import EntityMapping

from .conversion import Refused, longest_plain_key, wire_type
from .plan import PlannedField, TypePlan
from .preparation import UNDECODABLE, Prepared, complete

__all__ = ["prepare_together"]

CHUNK = 64
"""Changes whose values are decoded by one call; a single value that is not plain sends so many of them to ``prepare``."""

_astuple = msgspec.structs.astuple


def prepare_together(plan: TypePlan, changes: Sequence[tuple[int, Change]]) -> Iterator[Prepared | None]:
    """What ``prepare`` gives for each of these changes, by ordinal, or None where it has to be asked. None may be a partial update."""
    shape = _shape(plan.mapping, frozenset(p.name for p in plan.fields if p.parent is not None))
    for start in range(0, len(changes), CHUNK):
        chunk = changes[start : start + CHUNK]
        together = None if shape is None else _prepare_chunk(plan, shape, chunk)
        yield from together or [None] * len(chunk)


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


def _prepare_chunk(plan: TypePlan, shape: _Shape, chunk: Sequence[tuple[int, Change]]) -> list[Prepared | None] | None:
    body = b"[%b]" % b",".join([change.value or b"null" for _, change in chunk])
    if b"\\u0000" in body:  # a NUL, or what looks like one
        return None
    try:
        decoded = shape.decode(body)
        is_whole_value = plan.mapping.value_field is not None
        raw = [tuple(decoded)] if is_whole_value else list(zip(*map(_astuple, decoded), strict=True))
        columns = [
            column if passes is None or passes.issuperset(map(type, column)) else _convert(planned, column, passes)
            for planned, column, passes in zip(plan.fields, raw, shape.passing, strict=True)
        ]
    except (*UNDECODABLE, Refused):
        return None
    names = [planned.name for planned in plan.fields]
    values = [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
    unchanged = all(column is converted for column, converted in zip(raw, columns, strict=True))
    raws = values if unchanged else [dict(zip(names, row, strict=True)) for row in zip(*raw, strict=True)]
    is_whole = not any(UNSET in column for column in raw)
    return [
        _prepared(plan, shape, ordinal, change, of_row, converted, is_whole)
        for (ordinal, change), of_row, converted in zip(chunk, raws, values, strict=True)
    ]


def _convert(planned: PlannedField, column: Sequence[Any], passes: frozenset[type]) -> list[Any]:
    convert = planned.convert
    return [value if type(value) in passes else convert(value) for value in column]


def _prepared(
    plan: TypePlan,
    shape: _Shape,
    ordinal: int,
    change: Change,
    raw: dict[str, Any],
    values: dict[str, Any],
    is_whole: bool,
) -> Prepared | None:
    key = change.key
    try:
        plain = len(key) <= shape.longest_key and "\0" not in key
        key_value = key if plain else plan.key_value(key)
        if is_whole:
            return Prepared(key, key_value, ordinal, raw, values, True, change.raw)
        raw, values = ({name: v for name, v in some.items() if v is not UNSET} for some in (raw, values))
        prepared = Prepared(key, key_value, ordinal, raw, values, True, change.raw)
        complete(plan, prepared)
    except Refused:
        return None
    return prepared
