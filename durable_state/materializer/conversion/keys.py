"""Entity keys: text on the wire, verbatim in the column."""

from __future__ import annotations

import enum
import uuid
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from django.db import models

from durable_state.registry.represent import jsonable

from .fields import converter
from .limits import KEY_BYTES
from .refusal import Refused, shown, storable_text

__all__ = ["convert_key", "convert_parent_key", "key_converter", "key_text"]


def convert_key(field: models.Field[Any, Any], key: str, using: str | None = None) -> Any:
    """One key's value; see ``key_converter``. Raises: Refused."""
    return key_converter(field, using)(key)


def key_converter(field: models.Field[Any, Any], using: str | None = None) -> Callable[[str], Any]:
    """The function that gives the column's value for an entity key, from which ``key_text`` makes the very same key again.

    It raises ``Refused``: "key" where the column would not give it back ("007" in an integer field, a text that is too long), "nul",
    "invalid" (a lone surrogate).
    """
    convert = converter(field, using)

    def convert_one(key: str) -> Any:
        key = storable_text(key)
        if len(key) * 4 > KEY_BYTES and len(key.encode()) > KEY_BYTES:
            raise Refused(
                "key",
                f"The key {shown(key)} has more than {KEY_BYTES} bytes, which is too long for an index.",
            )
        try:
            value = convert(key)
        except Refused as refused:
            raise Refused(
                "key", f"The key {shown(key)} does not fit {field.name}: {refused.detail}"
            ) from refused
        if key_text(field, value) != key:
            raise Refused(
                "key",
                f"The key {shown(key)} would come back from {field.name} as {shown(key_text(field, value))}.",
            )
        return value

    return convert_one


def key_text(field: models.Field[Any, Any], value: Any) -> str:
    """The entity key that a column's value stands for."""
    return value if type(value) is str else str(jsonable(value))


def convert_parent_key(raw: Any) -> str | None:
    """The entity key by which a value names a parent: text, or an integer's digits; None for no parent. Raises: Refused."""
    match raw:
        case None:
            return None
        case enum.Enum():
            return convert_parent_key(raw.value)
        case str():
            return storable_text(raw)
        case bool():
            pass
        case int() if abs(raw) < 10**1000:
            return str(int(raw))
        case Decimal() if raw == raw.to_integral_value() and raw.as_tuple().exponent == 0:
            return str(raw)
        case uuid.UUID():
            return str(raw)
        case _:
            pass
    raise Refused("type", f"{shown(raw)} is no entity key of a parent.")
