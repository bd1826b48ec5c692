"""Foreign keys between mapped models."""

from __future__ import annotations

from typing import Any

from django.db import models

from .columns import parent_model
from .mapping import EntityMapping

__all__ = ["followed_columns", "parents_first"]


def parents_first(mappings: list[EntityMapping]) -> list[EntityMapping]:
    """The mappings with parents before their children, except where foreign keys form a cycle."""
    ordered: list[EntityMapping] = []
    seen: set[type[models.Model]] = set()

    def visit(mapping: EntityMapping) -> None:
        if mapping.model in seen:
            return
        seen.add(mapping.model)
        for field in mapping.mapped_fields:
            parent = parent_model(field)
            for other in mappings:
                if parent is other.model:
                    visit(other)
        ordered.extend(each for each in mappings if each.model is mapping.model)

    for mapping in mappings:
        visit(mapping)
    return ordered


def followed_columns(
    mapping: EntityMapping,
) -> dict[str, list[models.ForeignKey[Any, Any]]]:
    """The mapped columns, by attname, that foreign keys point to (``to_field``), and these keys.

    When such a column changes, the rows that point to it have to follow.
    """
    found: dict[str, list[models.ForeignKey[Any, Any]]] = {}
    mapped = {field.attname for field in mapping.mapped_fields}
    for relation in mapping.model._meta.get_fields(include_hidden=True):
        pointing = getattr(relation, "field", None)
        if not relation.auto_created or not isinstance(pointing, models.ForeignKey):
            continue
        target = pointing.target_field.attname
        if pointing.related_model._meta.concrete_model is mapping.model and target in mapped:
            found.setdefault(target, []).append(pointing)
    return found
