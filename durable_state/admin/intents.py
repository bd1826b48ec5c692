"""The audit trail in the admin."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from durable_state.models import Intent, Stream
from durable_state.policy import readable_streams

from .visibility import OperatorAdmin

__all__ = ["IntentAdmin"]


@admin.register(Intent)
class IntentAdmin(OperatorAdmin):
    """Who asked for what; also for streams that are gone."""

    list_display = ["created_at", "verb", "times", "stream_name", "actor", "detail"]
    list_filter = ["verb"]
    search_fields = ["stream_name", "actor", "detail"]
    lookups = frozenset({"verb", "verb__exact", "verb__isnull"})
    fields = ["created_at", "verb", "stream_name", "actor", "detail"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Intent]:
        readable = readable_streams(request.user).order_by()
        hidden = Stream.objects.exclude(pk__in=readable.values("pk")).order_by()
        return super().get_queryset(request).exclude(stream_name__in=hidden.values("name"))
