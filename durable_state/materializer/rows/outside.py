"""Rows outside the mappings that point to synced ones, and what deleting these means for them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db import models
from django.db.models.deletion import (
    Collector,
    RestrictedError,
    get_candidate_relations_to_delete,
)

from durable_state.models import TableOwner
from durable_state.registry import registry

from ..plan import TypePlan

__all__ = [
    "check_restricted",
    "check_updates",
    "is_pointed_to",
    "other_streams_rows",
    "pointing_to",
]


def is_pointed_to(plan: TypePlan, rows: models.QuerySet[models.Model]) -> bool:
    """Whether any row, of whatever table, points to one of these."""
    pointing = pointing_to(plan.mapping.model, rows, plan.using)
    return any(outside.exists() for _, outside in pointing)


def pointing_to(
    model: type[models.Model], rows: models.QuerySet[Any], using: str
) -> Iterator[tuple[Any, models.QuerySet[Any]]]:
    """The relations by which rows may point to these rows, each with the rows that do."""
    relations: list[Any] = list(get_candidate_relations_to_delete(model._meta))
    for relation in relations:
        if relation.on_delete is models.DO_NOTHING and not relation.field.db_constraint:
            continue
        pointing = relation.related_model._base_manager.using(using)
        yield relation, pointing.filter(**{f"{relation.field.name}__in": rows})


def check_updates(collector: Collector, rows: models.QuerySet[models.Model]) -> None:
    """Checks that no row would point to one that does not exist, which some databases find out only
    at COMMIT.

    Raises: RestrictedError.
    """
    for field, value in collector.field_updates:
        target: Any = getattr(field, "target_field", None)
        if value is None or target is None:
            continue
        if isinstance(value, models.Model):
            value = getattr(value, target.attname)
        there = target.model._base_manager.using(collector.using).filter(**{target.attname: value})
        if target.model is rows.model:
            there = there.exclude(pk__in=rows)
        if not there.exists():
            raise RestrictedError(
                f"{field.model._meta.label} rows would point to {value!r}, which does not exist.",
                set(),
            )


def check_restricted(collector: Collector) -> None:
    """Does what Django's ``delete()`` does last: RESTRICT does not protect rows from rows that are
    deleted anyway.

    Raises: RestrictedError.
    """
    for model, instances in collector.data.items():
        collector.clear_restricted_objects_from_set(model, set(instances))
    for rows in collector.fast_deletes:
        collector.clear_restricted_objects_from_queryset(rows.model, rows)
    for restricted in collector.restricted_objects.values():
        for field, objects in restricted.items():
            if objects:
                label = field.model._meta.label
                raise RestrictedError(f"{label} rows point to it (RESTRICT).", set())


def other_streams_rows(
    relation: Any, outside: models.QuerySet[Any], using: str
) -> models.QuerySet[Any]:
    """The rows that belong to another stream, which would not know of a cascade's deletions."""
    for mapping in registry.for_model(relation.related_model):
        if relation.field in mapping.mapped_fields:
            if mapping.stream_field is not None:
                return outside.filter(**{f"{mapping.stream_field}__isnull": False})
            if TableOwner.objects.using(using).filter(model=mapping.label).exists():
                return outside
    return outside.none()
