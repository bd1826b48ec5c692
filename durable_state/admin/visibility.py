"""What a user may see in the admin: read-only rows, and verbs for those with permission."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.auth import get_permission_codename
from django.db.models import Exists, OuterRef, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timezone import is_aware, localtime
from django.utils.translation import gettext_lazy as _

from durable_state.models import Stream
from durable_state.policy import readable_streams

from .paging import BoundedChangeList, BoundedPaginator

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Any]
else:
    ModelAdmin = admin.ModelAdmin

__all__ = ["OperatorAdmin", "StreamFilter", "actor", "labelled", "moment", "stream_link"]


def actor(request: HttpRequest) -> str:
    """The user's name for audit entries."""
    return request.user.get_username()


def moment(at: datetime | None) -> str:
    """Formats a moment as all admin pages do."""
    if at is None:
        return "-"
    return f"{localtime(at) if is_aware(at) else at:%Y-%m-%d %H:%M:%S}"


def labelled(label: Any, content: Any) -> SafeString:
    """Renders a cell with its own label, for lists too narrow for a header row."""
    return format_html('<span class="ds-label">{}</span>{}', label, content)


def stream_link(model_admin: ModelAdmin, stream: Stream) -> SafeString:
    """Renders a stream's name as a link to its page."""
    site = model_admin.admin_site.name
    url = reverse("admin:durable_state_stream_change", args=[stream.pk], current_app=site)
    return format_html('<a href="{}">{}</a>', url, stream.name)


class StreamFilter(admin.SimpleListFilter):
    """Filters by stream. It offers readable streams with rows, without reading the rows."""

    title = _("stream")
    parameter_name = "stream"
    offered = 100

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        rows = model_admin.model._default_manager.filter(stream=OuterRef("pk")).order_by()
        streams = readable_streams(request.user).filter(Exists(rows)).order_by("name")
        chosen = request.GET.get("stream", "")
        found = dict(streams.values_list("pk", "name")[: self.offered])
        if chosen.isdecimal() and int(chosen) not in found:
            found |= streams.filter(pk=int(chosen)).values_list("pk", "name")
        return [(str(pk), name) for pk, name in found.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        chosen = self.value() or ""
        return queryset.filter(stream=int(chosen)) if chosen.isdecimal() else queryset

    def has_output(self) -> bool:
        return bool(self.lookup_choices)


class OperatorAdmin(ModelAdmin):
    """Rows that users look at, and change only through verbs.

    An action with ``permissions=["operate"]`` needs the change permission.
    """

    # Without the link to a history of edits: nobody edits these rows.
    change_form_template = "durable_state/admin/row.html"
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    paginator = BoundedPaginator
    list_per_page = 50
    lookups: frozenset[str] = frozenset()
    """What a list's URL may filter by: Django would allow any column, letter by letter."""

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        return lookup in self.lookups

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Makes every field read-only."""
        return [*super().get_readonly_fields(request, obj), *(self.fields or ())]

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> Any:
        return BoundedChangeList

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._has("view", request) or self._has("change", request)

    def has_operate_permission(self, request: HttpRequest) -> bool:
        return self._has("change", request)

    def has_retire_permission(self, request: HttpRequest) -> bool:
        return self._has("delete", request)

    def _has(self, action: str, request: HttpRequest) -> bool:
        return request.user.has_perm(
            f"{self.opts.app_label}.{get_permission_codename(action, self.opts)}"
        )
