"""Which columns must be unique beside the key."""

from __future__ import annotations

from django.db import models

from .mapping import EntityMapping

__all__ = ["secondary_unique_sets"]


def secondary_unique_sets(mapping: EntityMapping) -> list[tuple[str, ...]]:
    """The sets of column attnames that must be unique together, in which at least one mapped field occurs; the key's own left out."""
    meta = mapping.model._meta
    sets = [{field.name} for field in meta.concrete_fields if field.unique]
    sets += [set(names) for names in meta.unique_together]
    sets += [
        set(constraint.fields)
        for constraint in meta.constraints
        if isinstance(constraint, models.UniqueConstraint)
        and constraint.fields
        and constraint.condition is None
    ]
    own = [{mapping.key_field}] + (
        [{mapping.key_field, mapping.stream_field}] if mapping.stream_field else []
    )
    mapped = {field.name for field in mapping.mapped_fields}
    found: list[tuple[str, ...]] = []
    for names in sets:
        attnames = tuple(sorted(mapping.field(name).attname for name in names))
        if names not in own and names & mapped and attnames not in found:
            found.append(attnames)
    return found
