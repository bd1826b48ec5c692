"""JSON documents: what all databases store and give back alike."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from typing import Annotated, Any

import msgspec
from django.db import models
from django.db.models.expressions import Value

from .limits import EXACT, Limits
from .refusal import Refused, is_finite, shown, storable_text

__all__ = [
    "DOCUMENT",
    "JSON_NULL",
    "JsonNull",
    "document",
    "is_given_back",
    "same_document",
]


class JsonNull(Value):
    """JSON's ``null`` for a JSONField, in inserts, updates and lookups alike, whether or not the
    column may be NULL; reads back as None.

    Django writes ``None`` as SQL NULL, and its own ``Value(None, JSONField())`` too when
    ``bulk_update`` puts it into a CASE.
    """

    def __init__(self) -> None:
        super().__init__(None, output_field=models.JSONField())

    def as_sql(self, compiler: Any, connection: Any) -> Any:
        """The parameter for JSON null, for saving too."""
        return "%s", [self.output_field.get_db_prep_value(None, connection)]

    def __repr__(self) -> str:
        return "JSON_NULL"


JSON_NULL = JsonNull()

_SCALAR = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)] | float | str | bool | None
DOCUMENT: Any = _SCALAR
"""The documents that ``document`` leaves unchanged, as a type for decoders: not nested too deeply,
and without numbers that some database may not keep.
"""
for _ in range(5):
    DOCUMENT = _SCALAR | list[DOCUMENT] | dict[str, DOCUMENT]


def document(field: models.Field[Any, Any], limits: Limits) -> Callable[[Any], Any]:
    """Any JSON without NUL characters, nested as deeply as the database stores. A top-level null
    becomes ``JSON_NULL``.
    """

    def convert(raw: Any) -> Any:
        return (
            JSON_NULL if raw is None or isinstance(raw, JsonNull) else _copy(raw, limits.json_depth)
        )

    return convert


def _copy(raw: Any, depth: int) -> Any:
    match raw:
        case None | bool():
            return raw
        case str():
            return storable_text(raw)
        case int():
            return _integer(int(raw))
        case Decimal() if raw.is_finite() and raw.as_tuple().exponent == 0:
            return _integer(_whole(raw))
        case float() | Decimal():
            if is_finite(raw):
                number = float(raw)
                if math.isfinite(number):
                    return number
            raise Refused("range", f"{shown(raw)} is not a number that a double can hold.")
        case dict() | list() | tuple():
            if depth == 0:
                raise Refused(
                    "invalid", "The document is nested more deeply than the database stores."
                )
            if isinstance(raw, dict):
                return {_name(name): _copy(part, depth - 1) for name, part in raw.items()}
            return [_copy(part, depth - 1) for part in raw]
        case _:
            raise Refused("type", f"{shown(raw)} is not JSON.")


def _name(name: Any) -> str:
    if not isinstance(name, str):
        raise Refused("type", f"{shown(name)} cannot be the name of a JSON object's member.")
    return storable_text(name)


def _whole(raw: Decimal) -> int:
    if raw.adjusted() > 400:
        raise Refused("range", "The integer is out of range.")
    return int(raw)


def _integer(number: int) -> int:
    if -(2**63) <= number < 2**64:
        return number
    # MySQL keeps a longer one as a double, so it must be the number that this double is written as
    # (JavaScript writes 1e20 in digits).
    try:
        written = int(Decimal(repr(float(number))))
    except OverflowError as error:
        raise Refused("range", "The integer is out of range.") from error
    if written != number:
        raise Refused(
            "precision", f"{shown(number)} is longer than the digits that every database keeps."
        )
    return number


def is_given_back(document: Any) -> bool:
    """Whether every database gives this very document back, apart from the order of its members.

    PostgreSQL turns long floats into integers, and it and MySQL drop the sign of zero.
    """
    kind = type(document)
    if kind is str or kind is bool or document is None or document is JSON_NULL:
        return True
    if kind is int:
        return bool(-EXACT < document < EXACT)
    if kind is float:
        return abs(document) < EXACT and (document != 0.0 or math.copysign(1.0, document) > 0.0)
    if kind is dict:
        return all(map(is_given_back, document.values()))
    return kind is list and all(map(is_given_back, document))


def same_document(one: Any, other: Any) -> bool:
    """Whether two documents are the same JSON: ``true`` is not 1, but 1 is 1.0 (PostgreSQL gives
    1e16 back as an integer).
    """
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(
            same_document(part, other[name]) for name, part in one.items()
        )
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same_document, one, other))
    if type(one) is type(other):
        return bool(one == other)
    if isinstance(one, bool) or isinstance(other, bool):
        return False
    if isinstance(one, (int, float)) and isinstance(other, (int, float)):
        return one == other or (_both_long(one, other) and float(one) == float(other))
    return False


def _both_long(one: float, other: float) -> bool:
    return (
        isinstance(one, float) != isinstance(other, float)
        and abs(one) >= 2**53
        and abs(other) >= 2**53
    )
