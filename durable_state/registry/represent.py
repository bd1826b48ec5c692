"""Field values as JSON, the way they came in."""

from __future__ import annotations

import base64
import datetime
import decimal
import enum
import uuid
from typing import TYPE_CHECKING, Any

from django.db import models
from django.utils.duration import duration_iso_string

from .relations import parent_key_path

if TYPE_CHECKING:
    from .mapping import EntityMapping

__all__ = ["jsonable", "represent_value"]


def represent_value(mapping: EntityMapping, row: models.Model, name: str) -> Any:
    """One mapped field of a row, JSON-like. A foreign key to a mapped parent is shown as the parent's entity key."""
    field = mapping.field(name)
    if isinstance(field, models.ForeignKey):
        path = parent_key_path(mapping, field, row)
        if path is not None:
            parent = getattr(row, field.name)
            return None if parent is None else str(jsonable(getattr(parent, path)))
    return jsonable(field.value_from_object(row))


def jsonable(value: Any) -> Any:
    """A Python value as JSON would hold it, without loss: decimals, big dates and UUIDs as text, bytes as base64."""
    match value:
        case None | bool() | str() | int() | float() | dict() | list():
            return value.value if isinstance(value, enum.Enum) else value
        case enum.Enum():
            return jsonable(value.value)
        case datetime.datetime():
            return value.isoformat().replace("+00:00", "Z")
        case datetime.date() | datetime.time():
            return value.isoformat()
        case datetime.timedelta():
            return duration_iso_string(value)
        case decimal.Decimal() | uuid.UUID():
            return str(value)
        case bytes() | bytearray() | memoryview():
            return base64.b64encode(bytes(value)).decode("ascii")
        case tuple() | set() | frozenset():
            return [jsonable(part) for part in value]
        case _:
            return str(value)
