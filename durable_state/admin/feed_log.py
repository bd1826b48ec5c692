"""The feed log in the admin: what each commit changed, as subscribers receive it."""

from __future__ import annotations

from typing import Any

import msgspec
from django.contrib import admin
from django.db.models import IntegerField
from django.db.models.functions import Length
from django.http import HttpRequest
from django.template.defaultfilters import filesizeformat
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from durable_state.feed.log import LoggedChange, decode_txids
from durable_state.models import FeedEntry
from durable_state.operations.wording import number, visible
from durable_state.policy import Insight, readable_streams

from .diagnostics import short
from .visibility import OperatorAdmin, StreamFilter, moment, stream_link

__all__ = ["FeedEntryAdmin"]

LISTED = 200
"""How many changes of an entry are shown."""
VALUE_BYTES = 1000
"""How many bytes of each value are shown."""


@admin.register(FeedEntry)
class FeedEntryAdmin(OperatorAdmin):
    """Commits, newest first. Values are shown to users who may see the rows."""

    list_display = ["revision_number", "stream_link", "when", "kind", "size"]
    list_filter = [StreamFilter]
    list_select_related = ["stream"]
    lookups = frozenset({"stream", "stream__id__exact"})
    ordering = ["-pk"]
    fields = ["revision_number", "stream_link", "when", "kind", "changes_shown", "txids_shown"]

    class Media:
        css = {"all": ["durable_state/admin.css"]}

    def get_queryset(self, request: HttpRequest) -> Any:
        readable = readable_streams(request.user).order_by()
        rows = super().get_queryset(request).filter(stream__in=readable.values("pk"))
        size = Length("changes", output_field=IntegerField())
        return rows.defer("changes", "txids").annotate(size=size)

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Any | None:
        found = super().get_object(request, object_id, from_field)
        if found is not None:
            found.insight = Insight(request.user, found.stream)
        return found

    @admin.display(description=gettext_lazy("commit"))
    def revision_number(self, entry: FeedEntry) -> str:
        return number(entry.revision)

    @admin.display(description=gettext_lazy("stream"))
    def stream_link(self, entry: FeedEntry) -> SafeString:
        return stream_link(self, entry.stream)

    @admin.display(description=gettext_lazy("when"))
    def when(self, entry: FeedEntry) -> str:
        return moment(entry.created_at)

    @admin.display(description=gettext_lazy("kind"))
    def kind(self, entry: FeedEntry) -> str:
        if entry.snapshot:
            return _("too many changes: subscribers get a snapshot instead")
        return _("changes, at the stream's end") if entry.up_to_date else _("changes")

    @admin.display(description=gettext_lazy("size"))
    def size(self, entry: Any) -> str:
        return filesizeformat(entry.size)

    @admin.display(description=gettext_lazy("changes"))
    def changes_shown(self, entry: Any) -> SafeString:
        changes = msgspec.json.decode(bytes(entry.changes), type=list[LoggedChange])
        readable = _readable(entry.insight, [(each.type, each.key) for each in changes[:LISTED]])
        lines = [
            (
                each.operation,
                short(each.type),
                *_told(each, (each.type, each.key) in readable),
            )
            for each in changes[:LISTED]
        ]
        row = '<tr><td>{}</td><th scope="row">{}</th><td>{}</td><td><pre>{}</pre></td></tr>'
        more = len(changes) - len(lines)
        return format_html(
            '<table class="ds-table ds-changes">{}</table>{}',
            format_html_join("", row, lines),
            _("… and %(count)s more") % {"count": number(more)} if more else "",
        )

    @admin.display(description=gettext_lazy("transactions"))
    def txids_shown(self, entry: Any) -> str:
        found = decode_txids(bytes(entry.txids))[-LISTED:]
        readable = _readable(entry.insight, [(each.type, each.key) for each in found])
        named = dict.fromkeys(each.txid for each in found if (each.type, each.key) in readable)
        return ", ".join(short(str(each)) for each in named) or "-"


def _readable(insight: Insight, entities: list[tuple[str, str]]) -> set[tuple[str, str]]:
    by_type: dict[str, list[str]] = {}
    for entity_type, key in entities:
        by_type.setdefault(entity_type, []).append(key)
    return {
        (entity_type, key)
        for entity_type, keys in by_type.items()
        for key in insight.entities(entity_type, keys)
    }


def _told(change: LoggedChange, is_readable: bool) -> tuple[str, str]:
    """Renders a change's key and value as far as the user may see them."""
    if not is_readable:
        return _("hidden: you do not see the row"), ""
    if change.operation == "delete":
        return short(change.key), ""
    if change.value is msgspec.UNSET:
        return short(change.key), _("read from its row")
    return short(change.key), visible(bytes(change.value)[:VALUE_BYTES].decode("utf-8", "replace"))
