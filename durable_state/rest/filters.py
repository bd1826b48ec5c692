"""Filters and ordering of lists, taken from the query.

Filters need django-filter; without it there are none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from django.db import models
from django.utils.translation import gettext as _
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request

from durable_state.feed import Sight
from durable_state.registry import EntityMapping

from .pages import Order

__all__ = [
    "chosen_fields",
    "chosen_flag",
    "chosen_names",
    "entity_order",
    "filter_entities",
    "filter_list",
    "simple_order",
]

RESERVED = frozenset(["key", "fields", "ordering", "limit", "cursor", "format"])
"""Reserved query parameters; fields with these names cannot be filtered by."""

_EQUAL = ["exact", "in", "isnull"]
_TEXT = [*_EQUAL, "iexact", "contains", "icontains", "startswith"]
_COMPARED = [*_EQUAL, "gt", "gte", "lt", "lte"]
_LOOKUPS: list[tuple[Any, list[str]]] = [
    ((models.CharField, models.TextField), _TEXT),
    (models.BooleanField, ["exact", "isnull"]),
    (
        (
            models.IntegerField,
            models.FloatField,
            models.DecimalField,
            models.DateField,  # datetimes too
            models.TimeField,
            models.DurationField,
        ),
        _COMPARED,
    ),
    (models.UUIDField, _EQUAL),
]
"""The lookups for each kind of field; fields of other kinds cannot be filtered or ordered by."""


def filter_entities(request: Request, sight: Sight, rows: Any) -> Any:
    """Filters the rows of a type by the fields that the user may see. Raises: ValidationError."""
    return _filtered(request, _entity_filters(sight.mapping, sight.fields), rows)


def filter_list(request: Request, rows: Any, fields: Mapping[str, Sequence[str]]) -> Any:
    """Filters the rows by these fields and lookups. Raises: ValidationError."""
    named = {
        _parameter(name, lookup): (rows.model._meta.get_field(name), name, lookup)
        for name, lookups in fields.items()
        for lookup in lookups
    }
    return _filtered(request, _filters(rows.model, named), rows)


def entity_order(request: Request, sight: Sight) -> Order:
    """The order that the query asks for: by a field's wire name, or by the key.

    Raises: ValidationError.
    """
    mapping = sight.mapping
    columns = {
        wire: mapping.field(name).attname
        for name, wire in _seen_fields(mapping, sight.fields).items()
        if not isinstance(mapping.field(name), models.ForeignKey)
        and _lookups(mapping.field(name))
        and wire != "key"
    }
    name, descending = _asked_order(request, ["key", *columns], "key")
    if name == "key":
        return Order(mapping.key.attname, descending=descending)
    return Order(mapping.key.attname, columns[name], descending)


def simple_order(request: Request, column: str, name: str) -> Order:
    """The order of a list with a single one: ascending or descending. Raises: ValidationError."""
    _name, descending = _asked_order(request, [name], name)
    return Order(column, descending=descending)


def chosen_fields(request: Request, known: Sequence[str] | None) -> frozenset[str] | None:
    """The names in ``?fields=a,b``; None without the parameter.

    Raises: ValidationError, for a name that is not in ``known``.
    """
    return chosen_names(request, "fields", known)


def chosen_names(
    request: Request, parameter: str, known: Sequence[str] | None
) -> frozenset[str] | None:
    """The names in ``?parameter=a,b``; None without the parameter.

    Raises: ValidationError, for a name that is not in ``known``.
    """
    texts = request.query_params.getlist(parameter)
    asked = [name for text in texts for name in text.split(",") if name]
    if not asked:
        return None
    unknown = [] if known is None else [name for name in asked if name not in known]
    if unknown:
        raise ValidationError({parameter: [_none_of(unknown[0], known or ())]})
    return frozenset(asked)


def chosen_flag(request: Request, parameter: str) -> bool | None:
    """The truth value of ``?parameter=``; None without the parameter. Raises: ValidationError."""
    asked = request.query_params.get(parameter)
    if not asked:
        return None
    if asked not in ("true", "false"):
        raise ValidationError({parameter: [_none_of(asked, ("true", "false"))]})
    return asked == "true"


def _asked_order(request: Request, known: list[str], default: str) -> tuple[str, bool]:
    asked = request.query_params.get("ordering") or default
    name = asked.removeprefix("-")
    if name not in known:
        raise ValidationError({"ordering": [_none_of(name, known)]})
    return name, asked.startswith("-")


def _none_of(asked: str, known: Sequence[str]) -> str:
    return _("%(asked)r is not one of %(known)s.") % {"asked": asked, "known": ", ".join(known)}


def _seen_fields(mapping: EntityMapping, seen: frozenset[str] | None) -> dict[str, str]:
    """The wire names of the model fields that the user may see."""
    return {name: wire for name, wire in mapping.wire_names.items() if seen is None or wire in seen}


def _lookups(field: Any) -> list[str]:
    return next((lookups for kinds, lookups in _LOOKUPS if isinstance(field, kinds)), [])


@lru_cache(maxsize=256)
def _entity_filters(mapping: EntityMapping, seen: frozenset[str] | None) -> Any:
    named: dict[str, tuple[Any, str, str]] = {}
    for name, wire in _seen_fields(mapping, seen).items():
        if wire in RESERVED:
            continue
        field, path = mapping.field(name), name
        if isinstance(field, models.ForeignKey):
            # By what the value holds: the parent's key.
            parent = mapping.parent_mapping(field)
            target = parent.key if parent is not None else field.target_field
            path, field = f"{name}__{target.name}", target
        for lookup in _lookups(field):
            named[_parameter(wire, lookup)] = (field, path, lookup)
    return _filters(mapping.model, named)


def _parameter(name: str, lookup: str) -> str:
    return name if lookup == "exact" else f"{name}__{lookup}"


def _filters(model: Any, named: Mapping[str, tuple[Any, str, str]]) -> Any:
    """The filter set; None if django-filter is not installed."""
    try:
        from django_filters import BooleanFilter, FilterSet
    except ImportError:
        return None
    filters = {
        parameter: BooleanFilter(field_name=path, lookup_expr=lookup)
        if lookup == "isnull"
        else FilterSet.filter_for_field(field, path, lookup)
        for parameter, (field, path, lookup) in named.items()
    }
    meta = type("Meta", (), {"model": model, "fields": []})
    return type("Filters", (FilterSet,), {**filters, "Meta": meta})


def _filtered(request: Request, filters: Any, rows: Any) -> Any:
    if filters is None:
        return rows
    found = filters(request.query_params, queryset=rows)
    if not found.is_valid():
        raise ValidationError(found.errors)
    return found.qs
