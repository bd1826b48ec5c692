"""Parked changes in the admin: each with what it waits for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from durable_state.models import DeadLetter, ParkedChange, entity_digest

from .diagnostics import DiagnosticAdmin, pretty
from .row_links import row_urls
from .visibility import StreamFilter

__all__ = ["ParkedChangeAdmin"]


@admin.register(ParkedChange)
class ParkedChangeAdmin(DiagnosticAdmin):
    """Changes that the tables cannot show yet. The list is read-only."""

    change_list_template = "durable_state/admin/parked_list.html"
    list_display = ["entity_key", "why", "meanwhile", "where"]
    list_display_links = ["entity_key"]
    list_filter = ["reason", StreamFilter]
    fields = [
        "entity_key",
        "waits_for_cell",
        "reason_words",
        "meanwhile",
        "prepared_values",
        "stream_link",
        "message_number",
        "when",
    ]

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Any | None:
        found = super().get_object(request, object_id, from_field)
        if found is not None:
            self._find_reasons(request, [found])
        return found

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        changelist = super().get_changelist_instance(request)
        self._find_reasons(request, list(changelist.result_list))
        return changelist

    def _find_reasons(self, request: HttpRequest, listed: Iterable[ParkedChange]) -> None:
        """Finds what the changes wait for: an entity that is itself parked or refused, or a row
        that is in the way. Two queries, and one for each type whose rows are in the way.
        """
        waiting = [each for each in listed if each.waits_type]
        digests = {entity_digest(each.waits_type, each.waits_key) for each in waiting}
        streams = {each.stream_id for each in waiting}
        wanted = {"stream__in": streams, "entity__in": digests}
        parked = _by_entity(ParkedChange.objects.filter(**wanted))
        letters = _by_entity(DeadLetter.objects.filter(**wanted, generation=DeadLetter.SHOWN))
        holders = [each for each in waiting if each.reason == ParkedChange.Reason.UNIQUE]
        rows = row_urls(
            self.admin_site,
            request,
            [(each.stream, each.waits_type, each.waits_key) for each in holders],
        )
        for each in waiting:
            name = each.stream_id, entity_digest(each.waits_type, each.waits_key)
            row = rows.get((each.stream_id, each.waits_type, each.waits_key), "")
            each.found = self._found(parked.get(name), letters.get(name), row)  # type: ignore[attr-defined]

    def _found(self, parked: int | None, letter: int | None, row: str) -> tuple[str, str]:
        if letter is not None:
            return _("its message was refused"), self._url("deadletter", letter)
        if parked is not None:
            return _("which is parked, too"), self._url("parkedchange", parked)
        return (_("the row in the way"), row) if row else ("", "")

    def _url(self, model: str, pk: int) -> str:
        try:
            name = f"admin:durable_state_{model}_change"
            return reverse(name, args=[pk], current_app=self.admin_site.name)
        except NoReverseMatch:
            return ""

    @admin.display(description=gettext_lazy("waits for"))
    def waits_for_cell(self, parked: ParkedChange) -> SafeString:
        return self.value_cell(parked, lambda: _waits_for(parked))

    @admin.display(description=gettext_lazy("reason"))
    def reason_words(self, parked: ParkedChange) -> SafeString:
        cell = '<span class="ds-pill ds-warn">{}</span>'
        return format_html(cell, parked.get_reason_display())

    @admin.display(description=gettext_lazy("waits for"))
    def why(self, parked: ParkedChange) -> SafeString:
        return format_html("{}{}", self.reason_words(parked), self.waits_for_cell(parked))

    @admin.display(description=gettext_lazy("shown meanwhile"))
    def meanwhile(self, parked: ParkedChange) -> str:
        """Tells what the tables show of the entity in the meantime."""
        if parked.is_link:
            return _("this change, without its parent")
        return _("its older row") if parked.stale else _("no row")

    @admin.display(description=gettext_lazy("values"))
    def prepared_values(self, parked: ParkedChange) -> SafeString:
        cell = '<pre class="ds-body">{}</pre>'
        return self.value_cell(parked, lambda: format_html(cell, pretty(bytes(parked.prepared))))


def _by_entity(found: QuerySet[Any]) -> dict[tuple[int, str], int]:
    return {
        (stream, entity): pk for stream, entity, pk in found.values_list("stream", "entity", "pk")
    }


def _waits_for(parked: ParkedChange) -> SafeString:
    words, url = getattr(parked, "found", ("", ""))
    link = format_html(' <a href="{}">{}</a>', url, words) if url else ""
    return format_html('<div class="ds-detail">{}{}</div>', parked.detail, link)
