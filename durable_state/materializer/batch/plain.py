"""Prepares many changes at once: one call of the decoder reads their values as the columns' types,
and so checks them too.

This is an optimization: it gives what ``prepare`` and ``from_bytes`` give for each change alone, or
None where it cannot be sure of that.

Why: decision 20.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import lru_cache
from itertools import repeat
from operator import is_
from typing import Annotated, Any, NamedTuple

import msgspec
from django.db import models
from msgspec import UNSET, UnsetType

from durable_state.conversion import Refused, convert_all, longest_plain_key, wire_type
from durable_state.protocol import Change
from durable_state.registry import EntityMapping

from ..plan import PlannedField, TypePlan, Values
from .preparation import UNDECODABLE, Prepared, complete, may_be_too_large

__all__ = ["prepare_together", "unpack_together"]

CHUNKS = (512, 32)
"""Values that are decoded by one call; if one of them is not plain, they are tried again in smaller
chunks, and those in the same small chunk are prepared one by one.
"""

ParentKeys = frozenset[tuple[str, int]]
"""The fields that name parents by keys, each with the longest key (characters) that needs no
conversion."""

_astuple = msgspec.structs.astuple


def prepare_together(
    plan: TypePlan, ordinals: Sequence[int], changes: Sequence[Change]
) -> Sequence[Prepared | None]:
    """What ``prepare`` gives for each of these changes, or None where it has to be called.

    No change may be a partial update or lack its value.
    """
    if plan.has_own_prepare:
        return [None] * len(changes)
    values = [change.value or b"" for change in changes]
    keys, bodies = [change.key for change in changes], [change.raw for change in changes]
    return _in_chunks(
        plan,
        _wire_shape(plan.mapping, _parent_keys(plan)),
        [keys, ordinals, values, bodies],
        *CHUNKS,
    )


def unpack_together(
    plan: TypePlan,
    keys: Sequence[str],
    ordinals: Sequence[int],
    documents: Sequence[bytes],
    bodies: Sequence[bytes],
) -> Sequence[Prepared | None]:
    """What ``from_bytes`` gives for each of these, or None where it has to be called.

    Only ``raw`` may spell a number otherwise that doubles make zero of (``1e-400``).
    """
    return _in_chunks(
        plan,
        _staged_shape(plan.mapping, _parent_keys(plan)),
        [keys, ordinals, documents, bodies],
        *CHUNKS,
    )


def _in_chunks(
    plan: TypePlan, shape: _Shape | None, columns: Sequence[Sequence[Any]], size: int, *smaller: int
) -> Sequence[Prepared | None]:
    count = len(columns[0])
    if shape is None:
        return [None] * count
    together: list[Prepared | None] = []
    for start in range(0, count, size):
        chunk = [column[start : start + size] for column in columns]
        try:
            together += _prepare_chunk(plan, shape, *chunk)
        except (*UNDECODABLE, Refused):
            together += (
                _in_chunks(plan, shape, chunk, *smaller) if smaller else [None] * len(chunk[0])
            )
    return together


def _parent_keys(plan: TypePlan) -> ParentKeys:
    return frozenset(
        (planned.name, longest_plain_key(planned.parent.key))
        for planned in plan.fields
        if planned.parent is not None
    )


class _Shape(NamedTuple):
    """How the values of one mapping are decoded: as objects, or (``is_whole_value``) as what its
    only field takes.

    ``passing`` has for each field the types of decoded values that its conversion gives back
    unchanged; None: all of them. Keys of at most ``longest_key`` characters are the key column's
    values as they are.
    """

    decode: Callable[[bytes], list[Any]]
    is_whole_value: bool
    passing: list[frozenset[type] | None]
    longest_key: int


@lru_cache(maxsize=1024)
def _wire_shape(mapping: EntityMapping, parent_keys: ParentKeys) -> _Shape | None:
    """The shape of values as they come, for mappings without their own ``prepare``."""
    return _shape(
        mapping,
        parent_keys,
        None if mapping.value_field is not None else list(mapping.wire_names.values()),
    )


@lru_cache(maxsize=1024)
def _staged_shape(mapping: EntityMapping, parent_keys: ParentKeys) -> _Shape | None:
    """The shape of values as ``to_bytes`` stores them."""
    return _shape(mapping, parent_keys, [field.name for field in mapping.mapped_fields])


def _shape(
    mapping: EntityMapping, parent_keys: ParentKeys, names: list[str] | None
) -> _Shape | None:
    """The shape of objects with members of these names, or (None) of the only field's values.

    Returns None where a decoder cannot tell the fields apart.
    """
    if not mapping.mapped_fields or len(set(names or ())) < len(names or ()):
        return None
    exact = any(isinstance(field, models.DecimalField) for field in mapping.mapped_fields)
    longest_keys = dict(parent_keys)
    types: list[Any] = []
    passing: list[frozenset[type] | None] = []
    for field in mapping.mapped_fields:
        value_type, passes = wire_type(field)
        if (longest := longest_keys.get(field.name)) is not None:
            value_type, passes = _parent_type(field, longest)
        elif exact and isinstance(field, models.JSONField):
            value_type, passes = Any, frozenset()  # its numbers come as Decimals then
        types.append(value_type)
        passing.append(None if passes is None else passes | {UnsetType})
    if names is None:
        whole = types[0]
    else:
        fields = [
            (f"field_{number}", value_type | UnsetType, msgspec.field(default=UNSET, name=name))
            for number, (value_type, name) in enumerate(zip(types, names, strict=True))
        ]
        try:
            whole = msgspec.defstruct("Value", fields, gc=False)
        except ValueError:  # a name with a quote, a backslash or a control character
            return None
    decoder = msgspec.json.Decoder(list[whole], float_hook=Decimal if exact else None)  # type: ignore[valid-type]
    return _Shape(decoder.decode, names is None, passing, longest_plain_key(mapping.key))


def _parent_type(field: models.Field[Any, Any], longest: int) -> tuple[Any, frozenset[type] | None]:
    """What ``wire_type`` would return for a foreign key to parents whose keys pass unchanged up to
    ``longest`` characters.
    """
    if not longest:
        return Any, frozenset()
    text = Annotated[str, msgspec.Meta(max_length=longest)]
    value_type: Any = text | int | None if field.null else text | int
    return value_type, frozenset({str})


def _prepare_chunk(
    plan: TypePlan,
    shape: _Shape,
    keys: Sequence[str],
    ordinals: Sequence[int],
    values: Sequence[bytes],
    bodies: Sequence[bytes],
) -> list[Prepared]:
    """Raises: Refused, or what decoding does, where any of the values is not plain."""
    if may_be_too_large(plan, max(bodies, key=len)):
        raise Refused("too-long", "A message that may be too large to be staged.")
    body = b"[%b]" % b",".join(values)
    if b"\\u0000" in body:
        raise Refused("nul", "A NUL, or what looks like one.")
    if plan.is_narrow and not (b"\\u" not in body and body.isascii() and "".join(keys).isascii()):
        raise Refused("invalid", "Characters that a column may not have.")
    decoded = shape.decode(body)
    raw: list[Values] = (
        list(zip(decoded, strict=True)) if shape.is_whole_value else list(map(_astuple, decoded))
    )
    columns = list(zip(*raw, strict=True))
    converted = [
        column
        if passes is None or passes.issuperset(map(type, column))
        else _convert(planned, column, passes, plan.using)
        for planned, column, passes in zip(plan.fields, columns, shape.passing, strict=True)
    ]
    unchanged = all(map(is_, columns, converted))
    rows = raw if unchanged else list(zip(*converted, strict=True))
    is_plain = max(map(len, keys)) <= shape.longest_key and "\0" not in "".join(keys)
    key_values = keys if is_plain else list(map(plan.key_value, keys))
    together = list(map(Prepared, keys, key_values, ordinals, raw, rows, repeat(True), bodies))
    if any(UNSET in column for column in columns):
        for prepared in together:
            complete(plan, prepared)
    return together


def _convert(
    planned: PlannedField, column: Sequence[Any], passes: frozenset[type], using: str
) -> Sequence[Any]:
    at_once = convert_all(planned.field, column, using)
    if at_once is not None:
        return at_once
    convert = planned.convert
    return [value if type(value) in passes else convert(value) for value in column]
