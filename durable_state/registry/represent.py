"""Field values as JSON, the way they came in."""

from __future__ import annotations

import datetime
import inspect
import json
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models.query_utils import DeferredAttribute
from django.utils import timezone

from durable_state.conversion.jsonable import jsonable
from durable_state.conversion.keys import key_text

from .relations import parent_key_path, parent_mapping

if TYPE_CHECKING:
    from .mapping import EntityMapping

__all__ = ["is_shown_as_written", "key_value", "represent_value", "represent_written"]


def represent_value(mapping: EntityMapping, row: models.Model, name: str) -> Any:
    """One mapped field of a row, JSON-like.

    A foreign key to a mapped parent is shown as the parent's entity key.
    """
    field = mapping.field(name)
    if isinstance(field, models.ForeignKey):
        path = parent_key_path(mapping, field, row)
        if path is not None:
            parent = getattr(row, field.name)
            return None if parent is None else key_text(field, getattr(parent, path))
    return jsonable(_document(field, field.value_from_object(row)))


def represent_written(mapping: EntityMapping, values: Sequence[Any]) -> Any:
    """What ``represent`` shows of a row into which these values were just written.

    They are those of the mapped columns, in their order. Only for mappings of which
    ``is_shown_as_written`` says so.
    """
    shown = [jsonable(value) for value in values]
    if mapping.value_field is not None:
        return shown[0]
    return dict(zip(mapping.wire_names.values(), shown, strict=True))


def is_shown_as_written(mapping: EntityMapping) -> bool:
    """Whether a row need not be read to know what is shown of it.

    So it is where neither mapping, model nor field has code of its own between the row and what
    is shown, and where the mapped columns hold neither documents nor parents.
    """
    model: type[models.Model] = mapping.model
    return (
        not mapping.has_own_represent
        and model.__init__ is models.Model.__init__
        and model.from_db.__func__ is models.Model.from_db.__func__  # type: ignore[attr-defined]
        and not models.signals.post_init.has_listeners(model)
        and all(_is_read_plainly(mapping, field) for field in mapping.mapped_fields)
    )


def _is_read_plainly(mapping: EntityMapping, field: models.Field[Any, Any]) -> bool:
    attribute = inspect.getattr_static(mapping.model, field.attname)
    return (
        type(attribute) is field.descriptor_class
        and issubclass(field.descriptor_class, DeferredAttribute)
        and field.descriptor_class.__module__.startswith("django.db.models.")
        and type(field).value_from_object is models.Field.value_from_object
        and not isinstance(field, (models.JSONField, models.FileField))
        and not field.has_db_default()
        and parent_mapping(mapping, field) is None
    )


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
