"""Represents field values as JSON, as the stream brought them."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

from django.db import models

from durable_state.conversion.jsonable import as_shown
from durable_state.conversion.keys import key_text

__all__ = ["represent_parent", "represent_value"]


def represent_value(field: models.Field[Any, Any], row: models.Model) -> Any:
    """Represents one mapped field of a row, JSON-like."""
    return as_shown(_document(field, field.value_from_object(row)))


def represent_parent(field: models.Field[Any, Any], row: models.Model, key: str) -> str | None:
    """Represents a foreign key as the parent's entity key, which its attribute ``key`` holds."""
    parent = getattr(row, field.name)
    return None if parent is None else key_text(field, getattr(parent, key))


def _document(field: models.Field[Any, Any], value: Any) -> Any:
    """The JSON of a value, even if the field's decoder has turned it into something else."""
    if not isinstance(field, models.JSONField) or field.decoder is None:
        return value
    with suppress(TypeError, ValueError):
        return json.loads(json.dumps(value, cls=field.encoder))
    return value
