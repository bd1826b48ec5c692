"""Field values as JSON, the way they came in."""

from __future__ import annotations

import datetime
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.utils import timezone

from durable_state.conversion.jsonable import jsonable

from .relations import parent_key_path

if TYPE_CHECKING:
    from .mapping import EntityMapping

__all__ = ["key_value", "represent_value"]


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
