"""Finding streams in the admin by what is shown of them, which no column holds."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from durable_state import operations
from durable_state.models import Stream

from .states import STATES

__all__ = ["AttentionFilter", "ShownStatusFilter"]


class AttentionFilter(admin.SimpleListFilter):
    """Streams that wait for a person."""

    title = "attention"
    parameter_name = "attention"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("needed", "Needs attention")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Stream]) -> QuerySet[Stream]:
        if self.value() != "needed":
            return queryset
        found = operations.reports(queryset.db)
        return queryset.filter(pk__in=[pk for pk, report in found.items() if report.stuck])


class ShownStatusFilter(admin.SimpleListFilter):
    """Streams by the status that the list shows."""

    title = "status"
    parameter_name = "shown"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(status, status.replace("-", " ")) for status in STATES]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Stream]) -> QuerySet[Stream]:
        if self.value() is None:
            return queryset
        found = operations.reports(queryset.db)
        pks = [pk for pk, report in found.items() if report.status == self.value()]
        return queryset.filter(pk__in=pks)
