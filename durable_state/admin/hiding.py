"""A ``ModelAdmin`` that does not show, offer or lose what the policy hides."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db import models
from django.http import HttpRequest

from durable_state.policy import hidden_columns, readable_rows

from .parents import (
    ReadableParentListFilter,
    hidden_members,
    is_synced_model,
    keeping_hidden_parents,
    may_look_through,
    synced_parents,
)

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Any]
else:
    ModelAdmin = admin.ModelAdmin

__all__ = ["HidingAdmin"]


class HidingAdmin(ModelAdmin):
    """Limits a synced model to the rows and fields that the user may see, including the synced rows
    that it points to.
    """

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.without_hidden_fields(request, super().get_fieldsets(request, obj))

    def without_hidden_fields(self, request: HttpRequest, fieldsets: Any) -> Any:
        """The fieldsets without the columns that the policy hides."""
        hidden = hidden_columns(request.user, self.model)
        if not hidden:
            return fieldsets
        shown: list[Any] = []
        for title, options in fieldsets:
            lines = [_shown_part(line, hidden) for line in options["fields"]]
            if any(lines):
                shown.append((title, {**options, "fields": [line for line in lines if line]}))
        return shown

    def get_list_display(self, request: HttpRequest) -> Any:
        declared = super().get_list_display(request)
        hidden = hidden_columns(request.user, self.model)
        return [each for each in declared if each not in hidden] or ["pk"]

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        changelist: ChangeList = super().get_changelist_instance(request)
        if changelist.date_hierarchy in hidden_columns(request.user, self.model):
            changelist.date_hierarchy = None
        return changelist

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        return readable_rows(request.user, super().get_queryset(request))

    def get_list_filter(self, request: HttpRequest) -> Any:
        """The declared filters; those by a synced parent offer only rows that the user may see."""
        parents = {field.name for field in synced_parents(self.model)}
        offered: list[Any] = []
        for each in super().get_list_filter(request):
            path = each[0] if isinstance(each, (list, tuple)) else each
            if isinstance(each, str) and each in parents:
                offered.append((each, ReadableParentListFilter))
            elif may_look_through(request, self.model, path):
                offered.append(each)
        return offered

    def get_search_fields(self, request: HttpRequest) -> list[str]:
        return [
            path
            for path in super().get_search_fields(request)
            if may_look_through(request, self.model, path)
        ]

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        is_open = may_look_through(request, self.model, lookup)
        return is_open and super().lookup_allowed(lookup, value, request)

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        return keeping_hidden_parents(super().get_form(request, obj, change, **kwargs), request)

    def get_changelist_form(self, request: HttpRequest, **kwargs: Any) -> Any:
        return keeping_hidden_parents(super().get_changelist_form(request, **kwargs), request)

    def get_field_queryset(self, db: str | None, db_field: Any, request: HttpRequest) -> Any:
        """Offers no hidden rows as choices of a foreign key or many-to-many field."""
        choices = super().get_field_queryset(db, db_field, request)
        related = db_field.remote_field.model
        if not is_synced_model(related):
            return choices
        if choices is None:
            choices = related._default_manager.using(db).all()
        return readable_rows(request.user, choices)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Only counts the related rows that would be deleted: Django would name them, even hidden
        ones.
        """
        _, counts, permissions, protected = super().get_deleted_objects(objs, request)
        return (
            [str(each) for each in objs],
            counts,
            permissions,
            ["rows that point there"] if protected else [],
        )

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """Keeps the related objects that the form did not show."""
        kept = hidden_members(request, form.instance) if change else {}
        super().save_related(request, form, formsets, change)
        for name, pks in kept.items():
            if name in form.changed_data:
                getattr(form.instance, name).add(*pks)


def _shown_part(line: Any, hidden: set[str]) -> Any:
    """A line of a fieldset, one field or several, without the hidden ones."""
    if isinstance(line, (list, tuple)):
        return [name for name in line if name not in hidden]
    return "" if line in hidden else line
