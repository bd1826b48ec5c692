"""Field values as JSON, the way they came in.

Why: decision 0961.
"""

from __future__ import annotations

import datetime
import json
from contextlib import suppress
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.utils import timezone

from durable_state.conversion.jsonable import jsonable
from durable_state.conversion.keys import key_text

__all__ = ["key_value", "represent_parent", "represent_value"]


def represent_value(field: models.Field[Any, Any], row: models.Model) -> Any:
    """One mapped field of a row, JSON-like."""
    return jsonable(_document(field, field.value_from_object(row)))


def represent_parent(field: models.Field[Any, Any], row: models.Model, key: str) -> str | None:
    """A foreign key of a row as the entity key of the parent, whose attribute ``key`` holds it."""
    parent = getattr(row, field.name)
    return None if parent is None else key_text(field, getattr(parent, key))


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
    return value if "\0" not in key and key_text(field, value) == key else None


def _document(field: models.Field[Any, Any], value: Any) -> Any:
    """What a JSON column holds, where a decoder of the field's own made something else of it."""
    if not isinstance(field, models.JSONField) or field.decoder is None:
        return value
    with suppress(TypeError, ValueError):
        return json.loads(json.dumps(value, cls=field.encoder))
    return value
