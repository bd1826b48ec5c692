"""Tells which columns a stream can write, and which columns must be unique."""

from __future__ import annotations

from typing import Any

from django.db import models

__all__ = ["parent_model", "unique_sets", "writable"]


def writable(field: models.Field[Any, Any]) -> bool:
    """Whether a stream can write the column: it is neither a primary key, nor computed,
    nor set by Django on each save.
    """
    return not (
        field.primary_key
        or field.generated
        or getattr(field, "auto_now", False)
        or getattr(field, "auto_now_add", False)
    )


def parent_model(field: models.Field[Any, Any]) -> type[models.Model] | None:
    """The model whose table a foreign key points to, even if it names a proxy of that model.

    None for any other field.
    """
    if not isinstance(field, models.ForeignKey):
        return None
    meta = getattr(field.related_model, "_meta", None)  # a name, if there is no such model
    return None if meta is None else meta.concrete_model


def unique_sets(model: type[models.Model]) -> list[set[str]]:
    """The sets of fields, by name, in whose values no two rows of the model agree."""
    meta = model._meta
    sets = [{field.name} for field in meta.concrete_fields if field.unique]
    sets += [set(names) for names in meta.unique_together]
    for constraint in meta.constraints:
        if isinstance(constraint, models.UniqueConstraint) and constraint.condition is None:
            sets.append(set(constraint.fields))
    return [names for names in sets if names]
