"""Synced rows that other rows point to: hidden ones are not shown, offered or lost."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib import admin
from django.db import models
from django.http import HttpRequest

from durable_state.policy import hidden_columns, readable_rows, sees_whole_model
from durable_state.registry import registry

__all__ = [
    "ReadableParentListFilter",
    "blank_hidden_parents",
    "hidden_members",
    "is_synced_model",
    "keeping_hidden_parents",
    "may_look_through",
    "synced_parents",
]


class ReadableParentListFilter(admin.RelatedFieldListFilter):
    """Filters by parent, and offers only parents that the person may see."""

    def field_choices(self, field: Any, request: HttpRequest, model_admin: Any) -> Any:
        parents = readable_rows(request.user, field.related_model._default_manager.all())
        return field.get_choices(
            include_blank=False,
            limit_choices_to={"pk__in": parents.order_by().values("pk")},
            ordering=self.field_admin_ordering(field, request, model_admin),
        )


def is_synced_model(model: Any) -> bool:
    """Whether streams write the model."""
    return bool(registry.for_model(model) or registry.for_model(model._meta.concrete_model))


def synced_parents(model: type[models.Model]) -> list[models.ForeignKey[Any, Any]]:
    """The foreign keys of a model that point to synced models."""
    return [
        field
        for field in model._meta.concrete_fields
        if isinstance(field, models.ForeignKey) and is_synced_model(field.related_model)
    ]


def may_look_through(request: HttpRequest, model: type[models.Model], path: Any) -> bool:
    """Whether a search or a filter by ``path`` (``author__name``) reveals no hidden field or
    parent.

    Finding rows by a value reveals that value, letter by letter.
    """
    if not isinstance(path, str):
        return True
    name, _, behind = path.lstrip("^=@").partition("__")
    if name in hidden_columns(request.user, model):
        return False
    parents = {field.name: field.related_model for field in synced_parents(model)}
    if not behind or behind in ("exact", "isnull") or name not in parents:
        return True
    target = parents[name]._meta.pk.name
    if behind.split("__")[0] in ("pk", target):
        return True
    return sees_whole_model(request.user, parents[name])


def keeping_hidden_parents(form_class: Any, request: HttpRequest) -> Any:
    """A form class whose forms can neither change nor name a parent that the user may not see."""

    class KeepingForm(form_class):  # type: ignore[misc]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            for field in synced_parents(self._meta.model):
                value = getattr(self.instance, field.attname)
                if field.name in self.fields and _hidden_parents(request, field, [value]):
                    _keep(self.fields[field.name], field, value)

    return KeepingForm


def _keep(form_field: Any, field: models.ForeignKey[Any, Any], value: Any) -> None:
    parents = field.related_model._base_manager
    form_field.queryset = parents.filter(**{field.target_field.name: value})
    form_field.label_from_instance = lambda parent: "(hidden)"
    form_field.disabled = True


def _hidden_parents(
    request: HttpRequest, field: models.ForeignKey[Any, Any], values: Iterable[Any]
) -> set[Any]:
    """Finds the values of the foreign key that point to rows hidden from the person."""
    wanted = set(values) - {None}
    if not wanted:
        return set()
    target = field.target_field.name
    parents = field.related_model._base_manager.filter(**{f"{target}__in": wanted})
    seen = readable_rows(request.user, parents).order_by().values_list(target, flat=True)
    return wanted - set(seen)


def blank_hidden_parents(request: HttpRequest, rows: Iterable[models.Model]) -> None:
    """Shows a blank object instead of a parent that the user may not see.

    A page calls ``str()`` of a parent, which may reveal anything; the blank one has only its key.
    """
    found = list(rows)
    for field in synced_parents(type(found[0])) if found else ():
        hidden = _hidden_parents(request, field, [getattr(row, field.attname) for row in found])
        if not hidden:
            continue
        target = field.target_field
        pks = field.related_model._base_manager.filter(**{f"{target.name}__in": hidden})
        blanks = {
            value: field.related_model(**{"pk": pk, target.attname: value})
            for pk, value in pks.values_list("pk", target.name)
        }
        for row in found:
            if (value := getattr(row, field.attname)) in blanks:
                field.set_cached_value(row, blanks[value])


def hidden_members(request: HttpRequest, row: models.Model) -> dict[str, list[Any]]:
    """The rows in a row's many-to-many fields that the user may not see, by field."""
    found = {}
    for field in row._meta.many_to_many:
        if is_synced_model(field.related_model):
            members = getattr(row, field.name).all()
            seen = readable_rows(request.user, members).order_by().values("pk")
            found[field.name] = list(members.exclude(pk__in=seen).values_list("pk", flat=True))
    return found
