"""Parked changes in the admin."""

from __future__ import annotations

from django.contrib import admin
from django.utils.html import format_html
from django.utils.safestring import SafeString

from durable_state.models import ParkedChange

from .diagnostics import DiagnosticAdmin, pretty

__all__ = ["ParkedChangeAdmin"]


@admin.register(ParkedChange)
class ParkedChangeAdmin(DiagnosticAdmin):
    """Entities that the stream holds and the tables cannot show yet. Nothing to do but to look."""

    list_display = [
        "ordinal",
        "stream",
        "entity_key",
        "reason",
        "short_detail",
        "meanwhile",
        "when",
    ]
    list_display_links = ["ordinal"]
    list_filter = ["reason", ("stream", admin.RelatedOnlyFieldListFilter)]
    list_select_related = ["stream"]
    fields = [
        "stream",
        "ordinal",
        "type",
        "key_cell",
        "reason",
        "detail_text",
        "meanwhile",
        "created_at",
        "prepared_values",
    ]
    readonly_fields = ["meanwhile", "key_cell", "detail_text", "prepared_values"]

    @admin.display(description="shown meanwhile")
    def meanwhile(self, parked: ParkedChange) -> str:
        """What the tables show of the entity until the change can be shown."""
        if parked.is_link:
            return "this change, without its parent"
        return "its older row" if parked.stale else "no row"

    @admin.display(description="prepared")
    def prepared_values(self, parked: ParkedChange) -> SafeString:
        cell = '<pre class="ds-body">{}</pre>'
        return self.value_cell(parked, lambda: format_html(cell, pretty(bytes(parked.prepared))))
