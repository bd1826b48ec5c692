"""The audit trail in the admin."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from durable_state.models import Intent, Stream
from durable_state.policy import readable_streams

from .visibility import OperatorAdmin, moment

__all__ = ["IntentAdmin"]


@admin.register(Intent)
class IntentAdmin(OperatorAdmin):
    """Who did what to streams; also to streams that are gone."""

    list_display = ["when", "verb", "stream_name", "actor", "detail", "times"]
    list_filter = ["verb"]
    search_fields = ["stream_name", "actor", "detail"]
    lookups = frozenset({"verb", "verb__exact", "verb__isnull"})
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
