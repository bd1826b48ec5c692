"""The audit trail in the admin."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from durable_state.models import Intent, Stream

from .visibility import OperatorAdmin, visible_streams

__all__ = ["IntentAdmin"]


@admin.register(Intent)
class IntentAdmin(OperatorAdmin):
    """Who asked for what; also for streams that are gone."""

    list_display = ["created_at", "verb", "stream_name", "actor", "detail"]
    list_filter = ["verb"]
    search_fields = ["stream_name", "actor", "detail"]
    lookups = frozenset({"verb", "verb__exact", "verb__isnull"})
    fields = ["created_at", "verb", "stream_name", "actor", "detail"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Intent]:
        hidden = Stream.objects.exclude(pk__in=visible_streams(request).order_by().values("pk"))
        return (
            super().get_queryset(request).exclude(stream_name__in=hidden.order_by().values("name"))
        )
