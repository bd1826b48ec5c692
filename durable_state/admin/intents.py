"""The audit trail in the admin."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from durable_state.models import Intent, Stream
from durable_state.operations.wording import number
from durable_state.policy import readable_streams

from .searching import newest
from .visibility import OperatorAdmin, moment

__all__ = ["IntentAdmin", "told_verb"]

VERBS = {
    "add": _("add"),
    "adopt": _("adopt"),
    "edit": _("edit"),
    "pause": _("pause"),
    "resume": _("resume"),
    "reset": _("reset"),
    "cancel reset": _("cancel reset"),
    "verify": _("verify"),
    "remove": _("remove"),
    "retry": _("retry"),
    "discard": _("discard"),
}
"""Labels by stored verb."""


def told_verb(intent: Intent) -> str:
    """Tells what was done in the reader's language: ``resume``, or ``resume, 3 times``."""
    verb = str(VERBS.get(intent.verb, intent.verb))
    if intent.times == 1:
        return verb
    told = ngettext("%(verb)s, %(count)s time", "%(verb)s, %(count)s times", intent.times)
    return told % {"verb": verb, "count": number(intent.times)}


class VerbFilter(admin.SimpleListFilter):
    """Filters by verb. It offers all verbs, without reading the rows."""

    title = _("verb")
    parameter_name = "verb"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(verb, str(label)) for verb, label in VERBS.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Intent]) -> QuerySet[Intent]:
        return queryset if self.value() is None else queryset.filter(verb=self.value())


@admin.register(Intent)
class IntentAdmin(OperatorAdmin):
    """Who did what to which stream, including streams that were removed."""

    list_display = ["when", "done", "stream_name", "actor", "detail"]
    sortable_by = ["when"]
    list_filter = [VerbFilter]
    search_fields = ["stream_name", "actor", "detail"]
    search_help_text = _("Finds words in the newest 10,000 rows.")
    lookups = frozenset({"verb", "stream_name"})
    fields = ["when", "done", "stream_name", "actor", "detail"]
    ordering = ["-created_at", "-pk"]
    empty_value_display = ""

    class Media:
        css = {"all": ["durable_state/admin.css"]}

    @admin.display(description=_("when"), ordering="created_at")
    def when(self, intent: Intent) -> str:
        return moment(intent.created_at)

    @admin.display(description=_("verb"))
    def done(self, intent: Intent) -> str:
        return told_verb(intent)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Intent], search_term: str
    ) -> tuple[QuerySet[Intent], bool]:
        recent = newest(queryset) if search_term else queryset
        return super().get_search_results(request, recent, search_term)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Intent]:
        readable = readable_streams(request.user).order_by()
        hidden = Stream.objects.exclude(pk__in=readable.values("pk")).order_by()
        return super().get_queryset(request).exclude(stream_name__in=hidden.values("name"))
