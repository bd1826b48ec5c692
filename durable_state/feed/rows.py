"""Reading shown rows for subscribers: by key, or page by page; never a whole table."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.core.exceptions import ValidationError
from django.db import models

from durable_state.registry import EntityMapping
from durable_state.registry.relations import parent_mapping
from durable_state.registry.represent import jsonable

__all__ = ["PAGE_ROWS", "entity_key", "page", "page_of_keys", "rows_by_key", "with_parents"]

PAGE_ROWS = 200
"""Rows read at once, and items in one frame at most."""


def entity_key(mapping: EntityMapping, row: models.Model) -> str:
    """The entity key of a row, as the wire spells it."""
    return str(jsonable(mapping.key.value_from_object(row)))


def with_parents(mapping: EntityMapping, queryset: models.QuerySet[models.Model]) -> models.QuerySet[models.Model]:
    """The same rows, with the parents whose keys ``represent`` shows joined in, so that it asks nothing more."""
    parents = [field.name for field in mapping.mapped_fields if parent_mapping(mapping, field) is not None]
    return queryset.select_related(*parents) if parents else queryset


def rows_by_key(
    mapping: EntityMapping, queryset: models.QuerySet[models.Model], keys: Iterable[str]
) -> dict[str, models.Model]:
    """Those of the rows whose entity keys are asked for, by key; in queries of PAGE_ROWS keys."""
    found: dict[str, models.Model] = {}
    wanted = [key for key in keys if _possible(mapping, key)]
    for start in range(0, len(wanted), PAGE_ROWS):
        chunk = wanted[start : start + PAGE_ROWS]
        for row in with_parents(mapping, queryset).filter(**{f"{mapping.key_field}__in": chunk}):
            found[entity_key(mapping, row)] = row
    return found


def page(mapping: EntityMapping, queryset: models.QuerySet[models.Model], after: Any) -> list[models.Model]:
    """The next PAGE_ROWS rows by primary key after ``after`` (None: from the first)."""
    if after is not None:
        queryset = queryset.filter(pk__gt=after)
    return list(with_parents(mapping, queryset).order_by("pk")[:PAGE_ROWS])


def page_of_keys(mapping: EntityMapping, queryset: models.QuerySet[models.Model], after: Any) -> tuple[list[str], Any]:
    """The entity keys of the next PAGE_ROWS rows by primary key after ``after``, and the last one's primary key (None: that was all)."""
    if after is not None:
        queryset = queryset.filter(pk__gt=after)
    found = list(queryset.order_by("pk").values_list("pk", mapping.key.attname)[:PAGE_ROWS])
    return [str(jsonable(key)) for _, key in found], found[-1][0] if len(found) == PAGE_ROWS else None


def _possible(mapping: EntityMapping, key: str) -> bool:
    """Whether the key field could hold ``key`` at all; asking a database for another one may raise."""
    try:
        value = mapping.key.get_prep_value(mapping.key.to_python(key))
        key.encode()
    except (ValidationError, ValueError, TypeError, OverflowError):
        return False
    return "\0" not in key and not (isinstance(value, int) and not -(2**63) <= value < 2**63)
