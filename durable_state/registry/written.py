"""What is shown of a row that was just written, without reading it.

Why: decision 43.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from django.db import models
from django.db.models.query_utils import DeferredAttribute

from durable_state.conversion.jsonable import jsonable

from .mapping import EntityMapping

__all__ = ["is_shown_as_written", "represent_written"]


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
        and mapping.parent_mapping(field) is None
    )
