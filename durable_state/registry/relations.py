"""Foreign keys between mapped models: how the wire names a parent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import models

from .scope import stream_of

if TYPE_CHECKING:
    from .mapping import EntityMapping

__all__ = ["followed_columns", "parent_key_path", "parent_mapping", "parents_first"]


def parent_mapping(
    mapping: EntityMapping, field: models.Field[Any, Any], stream_name: str | None = None
) -> EntityMapping | None:
    """The mapping through which the wire names the field's parent in that stream, or None where the parent's model is not mapped.

    Without a stream's name it is one that some stream of the mapping has.
    """
    candidates = _candidates(mapping, field)
    if stream_name is not None:
        candidates = [each for each in candidates if each.serves(stream_name)] or candidates
    return candidates[0] if candidates else None


def parent_key_path(
    mapping: EntityMapping, field: models.ForeignKey[Any, Any], row: models.Model
) -> str | None:
    """The attribute of the row's parent that holds its entity key, or None where the parent's model is not mapped.

    Only where streams name the parents by different fields is it asked which stream the row belongs to.
    """
    candidates = _candidates(mapping, field)
    paths = {each.key.attname for each in candidates}
    if len(paths) < 2:
        return next(iter(paths), None)
    parent = parent_mapping(mapping, field, stream_of(mapping, row))
    return None if parent is None else parent.key.attname


def _candidates(mapping: EntityMapping, field: models.Field[Any, Any]) -> list[EntityMapping]:
    """The mappings of the field's parents; those that a stream of the child's may have, if there are any."""
    if not isinstance(field, models.ForeignKey) or mapping.registry is None:
        return []
    candidates = mapping.registry.for_model(field.related_model)
    return [each for each in candidates if each.may_meet(mapping)] or candidates


def parents_first(mappings: list[EntityMapping]) -> list[EntityMapping]:
    """The mappings in an order in which parents precede children, as far as the graph has no cycle."""
    ordered: list[EntityMapping] = []
    seen: set[type[models.Model]] = set()

    def visit(mapping: EntityMapping) -> None:
        if mapping.model in seen:
            return
        seen.add(mapping.model)
        for field in mapping.mapped_fields:
            for other in mappings:
                if isinstance(field, models.ForeignKey) and field.related_model is other.model:
                    visit(other)
        ordered.extend(each for each in mappings if each.model is mapping.model)

    for mapping in mappings:
        visit(mapping)
    return ordered


def followed_columns(
    mapping: EntityMapping,
) -> dict[str, list[models.ForeignKey[Any, Any]]]:
    """The mapped columns, by attname, that foreign keys name rows by (``to_field``).

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
