"""Field values as JSON, the way they came in."""

from __future__ import annotations

import base64
import datetime
import decimal
import enum
import json
import uuid
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec
from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.utils import timezone
from django.utils.duration import duration_iso_string

from .relations import parent_key_path

if TYPE_CHECKING:
    from .mapping import EntityMapping

__all__ = ["jsonable", "key_value", "represent_value"]

EXACT = 2**53
"""From here on JavaScript's numbers, which are doubles, leave integers out."""


def represent_value(mapping: EntityMapping, row: models.Model, name: str) -> Any:
    """One mapped field of a row, JSON-like. A foreign key to a mapped parent is shown as the parent's entity key."""
    field = mapping.field(name)
    if isinstance(field, models.ForeignKey):
        path = parent_key_path(mapping, field, row)
        if path is not None:
            parent = getattr(row, field.name)
            return None if parent is None else str(jsonable(getattr(parent, path)))
    return jsonable(_document(field, field.value_from_object(row)))


def key_value(field: models.Field[Any, Any], key: str) -> Any | None:
    """What rows with the entity key hold in the key field; None where no row can have it.

    Asking a database for such a key may raise.
    """
    try:
        key.encode()
        value = field.to_python(key)
        if (
            isinstance(value, datetime.datetime)
            and not settings.USE_TZ
            and value.tzinfo is not None
        ):
            value = timezone.make_naive(value, timezone.get_default_timezone())
        field.get_prep_value(value)
    except (ValidationError, ValueError, TypeError, OverflowError):
        return None
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return None
    return value if "\0" not in key and str(jsonable(value)) == key else None


def _document(field: models.Field[Any, Any], value: Any) -> Any:
    """What a JSON column holds, where a decoder of the field's own made something else of it."""
    if not isinstance(field, models.JSONField) or field.decoder is None:
        return value
    with suppress(TypeError, ValueError):
        return json.loads(json.dumps(value, cls=field.encoder))
    return value


def jsonable(value: Any) -> Any:
    """A Python value, and all that is inside it, as every reader of JSON holds it without loss.

    Integers beyond 2**53 become text, which JavaScript would round; so do decimals, moments (in UTC),
    UUIDs and bytes (as base64).
    """
    if value is None or type(value) in (str, bool, float):
        return value
    match value:
        case enum.Enum():
            return jsonable(value.value)
        case bool() | str() | float():
            return value
        case int():
            return value if -EXACT < value < EXACT else str(int(value))
        case dict():
            return {name: jsonable(part) for name, part in value.items()}
        case list() | tuple() | set() | frozenset():
            return [jsonable(part) for part in value]
        case datetime.datetime():
            return _moment(value)
        case datetime.date() | datetime.time():
            return value.isoformat()
        case datetime.timedelta():
            return duration_iso_string(value)
        case decimal.Decimal():
            return format(value, "f")  # not str(): of zero with eight places, that makes "0E-8"
        case uuid.UUID():
            return str(value)
        case bytes() | bytearray() | memoryview():
            return base64.b64encode(bytes(value)).decode("ascii")
        case _ if hasattr(value, "isempty") and hasattr(value, "lower_inc"):
            return _range(value)
        case _:
            return _other(value)


def _moment(value: datetime.datetime) -> str:
    """In UTC, whatever zone the database or the project is in: a moment has one text."""
    if (
        value.tzinfo is None
    ):  # USE_TZ is off, or somebody forgot; Django means its default time zone
        value = value.replace(tzinfo=timezone.get_default_timezone())
    with suppress(OverflowError):  # at the ends of the years 1 and 9999
        value = value.astimezone(datetime.UTC)
    return value.isoformat().replace("+00:00", "Z")


def _range(value: Any) -> dict[str, Any]:
    """One of PostgreSQL's ranges, as Django's serializers write it."""
    if value.isempty:
        return {"empty": True}
    bounds = f"{'[' if value.lower_inc else '('}{']' if value.upper_inc else ')'}"
    return {"lower": jsonable(value.lower), "upper": jsonable(value.upper), "bounds": bounds}


def _other(value: Any) -> Any:
    try:
        return jsonable(msgspec.to_builtins(value))  # dataclasses and their like
    except TypeError:
        return str(value)
