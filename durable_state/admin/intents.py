"""The audit trail in the admin."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from durable_state.models import Intent, Stream
from durable_state.policy import readable_streams

from .visibility import OperatorAdmin, moment

__all__ = ["IntentAdmin"]

VERBS = (
    "add",
    "adopt",
    "edit",
    "pause",
    "resume",
    "reset",
    "cancel reset",
    "verify",
    "remove",
    "retry",
    "discard",
)


class VerbFilter(admin.SimpleListFilter):
    """By what was done; all verbs are offered, without a look at the rows."""

    title = _("verb")
    parameter_name = "verb"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(verb, verb) for verb in VERBS]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Intent]) -> QuerySet[Intent]:
        return queryset if self.value() is None else queryset.filter(verb=self.value())


@admin.register(Intent)
class IntentAdmin(OperatorAdmin):
    """Who did what to streams; also to streams that are gone."""

    list_display = ["when", "verb", "stream_name", "actor", "detail", "times"]
    list_filter = [VerbFilter]
    search_fields = ["stream_name", "actor", "detail"]
    lookups = frozenset({"verb"})
    fields = ["when", "verb", "stream_name", "actor", "detail", "times"]
    ordering = ["-created_at", "-pk"]

    class Media:
        css = {"all": ["durable_state/admin.css"]}

    @admin.display(description=_("when"), ordering="created_at")
    def when(self, intent: Intent) -> str:
        return moment(intent.created_at)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Intent]:
        readable = readable_streams(request.user).order_by()
        hidden = Stream.objects.exclude(pk__in=readable.values("pk")).order_by()
        return super().get_queryset(request).exclude(stream_name__in=hidden.values("name"))
