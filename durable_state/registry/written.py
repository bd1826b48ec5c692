"""Represents a row that was just written, without reading it back.

Why: decision 43.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from django.db import models
from django.db.models.query_utils import DeferredAttribute

from durable_state.conversion import JSON_NULL
from durable_state.conversion.jsonable import as_shown

from .mapping import EntityMapping

__all__ = ["is_shown_as_written", "represent_written"]


def represent_written(mapping: EntityMapping, values: Sequence[Any]) -> Any:
    """What ``represent`` would return for a row into which these values were just written.

    ``values`` are those of the mapped columns, in their order, with mapped parents named by their
    entity keys. Only for mappings for which ``is_shown_as_written`` is true.
    """
    shown = [None if value is JSON_NULL else as_shown(value) for value in values]
    if mapping.value_field is not None:
        return shown[0]
    return dict(zip(mapping.wire_names.values(), shown, strict=True))


def is_shown_as_written(mapping: EntityMapping) -> bool:
    """Whether what is shown of a row is known without reading the row.

    True if no code of the mapping, the model or a field comes between the row and what is shown.
    """
    model, fields = mapping.model, mapping.mapped_fields
    return (
        not mapping.has_own_represent
        and _is_made_plainly(model)
        and all(_is_shown_plainly(model, field) for field in fields)
        and all(_is_named_plainly(mapping, field) for field in fields)
    )


def _is_made_plainly(model: type[models.Model]) -> bool:
    return (
        model.__init__ is models.Model.__init__
        and model.from_db.__func__ is models.Model.from_db.__func__  # type: ignore[attr-defined]
        and not models.signals.post_init.has_listeners(model)
    )


def _is_shown_plainly(model: type[models.Model], field: models.Field[Any, Any]) -> bool:
    if isinstance(field, models.JSONField):
        own_code = (field.encoder, field.decoder)
        is_plain = type(field) is models.JSONField and own_code == (None, None)
    else:
        is_plain = not isinstance(field, models.FileField)
    attribute = inspect.getattr_static(model, field.attname)
    return (
        is_plain
        and type(attribute) is field.descriptor_class
        and issubclass(field.descriptor_class, DeferredAttribute)
        and field.descriptor_class.__module__.startswith("django.db.models.")
        and type(field).value_from_object is models.Field.value_from_object
        and not field.has_db_default()
    )


def _is_named_plainly(mapping: EntityMapping, field: models.Field[Any, Any]) -> bool:
    """Whether the parent that the field points to, if it is mapped, is shown as its key alone."""
    parent = mapping.parent_mapping(field)
    return parent is None or (
        _is_made_plainly(parent.model) and _is_shown_plainly(parent.model, parent.key)
    )
