"""Entity keys: text on the wire, verbatim in the column."""

from __future__ import annotations

import enum
import uuid
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from django.db import models

from durable_state.conversion.jsonable import jsonable

from .fields import converter, longest_plain_key
from .limits import KEY_BYTES
from .refusal import Refused, shown, storable_text

__all__ = ["convert_key", "key_converter", "key_text", "key_value", "parent_key_converter"]


def convert_key(field: models.Field[Any, Any], key: str, using: str | None = None) -> Any:
    """Converts one key; see ``key_converter``. Raises: Refused."""
    return key_converter(field, using)(key)


def key_converter(field: models.Field[Any, Any], using: str | None = None) -> Callable[[str], Any]:
    """The function that turns an entity key into the column's value, from which ``key_text`` makes
    the very same key again.

    It raises ``Refused``: "key" if the column would not give the key back ("007" in an integer
    field, a text that is too long), "nul", "invalid" (a lone surrogate).
    """
    convert = converter(field, using)
    longest = longest_plain_key(field)

    def convert_one(key: str) -> Any:
        if type(key) is str and len(key) <= longest and key.isascii() and "\0" not in key:
            return key
        key = storable_text(key)
        if len(key) * 4 > KEY_BYTES and len(key.encode()) > KEY_BYTES:
            raise Refused(
                "key",
                f"The key {shown(key)} has more than {KEY_BYTES} bytes,"
                " which is too long for an index.",
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
                f"The key {shown(key)} would come back from {field.name}"
                f" as {shown(key_text(field, value))}.",
            )
        return value

    return convert_one


def key_value(field: models.Field[Any, Any], key: str, using: str | None = None) -> Any | None:
    """What a row with this entity key holds in the key field; None if no row can have the key."""
    try:
        value = converter(field, using)(storable_text(key))
    except Refused:
        return None
    return value if key_text(field, value) == key else None


def key_text(field: models.Field[Any, Any], value: Any) -> str:
    """The entity key that a column's value stands for."""
    return value if type(value) is str else str(jsonable(value))


def parent_key_converter(
    field: models.Field[Any, Any], using: str | None = None
) -> Callable[[Any], str | None]:
    """The function that returns the entity key of the parent that a value names, None for none.

    ``field`` holds the parents' keys, and a value is converted as its values are, so that a UUID in
    capitals names the parent whose key has small letters. The function raises ``Refused`` for a
    value that cannot be a parent's key, so that nothing waits for it.
    """
    convert, as_key = converter(field, using), key_converter(field, using)
    is_text = longest_plain_key(field) > 0

    def convert_one(raw: Any) -> str | None:
        while isinstance(raw, enum.Enum):
            raw = raw.value
        if raw is None:
            return None
        key = _text_key(raw) if is_text else key_text(field, convert(raw))
        as_key(key)
        return key

    return convert_one


def _text_key(raw: Any) -> str:
    """The key that a value names where keys are texts: a text itself, or an integer's digits."""
    match raw:
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
    raise Refused("type", f"{shown(raw)} is not a parent's entity key.")
