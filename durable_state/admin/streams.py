"""Streams in the admin:
a live list, a page for each, and the verbs as actions with confirmation.
"""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.urls.resolvers import URLPattern
from django.utils.html import format_html
from django.utils.safestring import SafeString

from durable_state import operations
from durable_state.errors import OperationRefused
from durable_state.models import Stream
from durable_state.policy import readable_streams
from durable_state.protocol.url import mask_query

from .stream_actions import StreamActions
from .stream_filters import AttentionFilter, ShownStatusFilter
from .stream_forms import AddStreamForm, EditStreamForm
from .stream_page import shown, stream_page
from .stream_verifications import open_verifications
from .visibility import actor

__all__ = ["StreamAdmin"]


@admin.register(Stream)
class StreamAdmin(StreamActions):
    """A stream is added by form, changed by actions, and otherwise looked at."""

    form = AddStreamForm
    change_form_template = "durable_state/admin/stream.html"
    list_display = [
        "name",
        "state",
        "lag",
        "speed",
        "read",
        "applied",
        "parked",
        "letters",
        "other",
    ]
    list_filter = [AttentionFilter, ShownStatusFilter]
    # Not the URL: a search would tell its masked query letter by letter.
    search_fields = ["name", "last_error"]
    lookups = frozenset({"attention", "shown", "status__exact", "paused__exact"})
    ordering = ["name"]
    list_per_page = 50

    class Media:
        css = {"all": ["durable_state/admin.css"]}
        js = ["durable_state/streams.js"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Stream]:
        readable = readable_streams(request.user).order_by()
        return super().get_queryset(request).filter(pk__in=readable.values("pk"))

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self._has("add", request)

    def get_fields(self, request: HttpRequest, obj: Stream | None = None) -> Any:
        return ["name", "url", "live", "adopt"] if obj is None else ["name", "live"]

    def save_model(self, request: HttpRequest, obj: Stream, form: Any, change: bool) -> None:
        added = operations.add(
            obj.name,
            obj.url,
            actor=actor(request),
            live=obj.live,
            adopt=form.cleaned_data["adopt"],
            using=self.get_queryset(request).db,
        )
        obj.pk, obj._state = added.pk, added._state
        self._tell_finding(request, added)

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        try:
            return super().add_view(request, form_url, extra_context)
        except OperationRefused as error:
            # What the form could not know, such as a table that is another stream's.
            self.message_user(request, str(error), messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        stream = self.get_object(request, object_id)
        page = {} if stream is None else stream_page(self, request, stream)
        return super().change_view(request, object_id, form_url, page | (extra_context or {}))

    def edit_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Reads the stream from another URL, or follows its tail otherwise."""
        stream = self.get_object(request, object_id)
        if stream is None:
            raise Http404
        if not self.has_operate_permission(request):
            raise PermissionDenied

        form = EditStreamForm(
            request.POST or None,
            initial={"live": stream.live, "heartbeat_seconds": stream.heartbeat_seconds},
        )
        if form.is_valid():
            try:
                operations.edit(stream, actor=actor(request), **form.cleaned_data)
            except OperationRefused as error:
                form.add_error("url", str(error))
            else:
                self.message_user(request, f"Changed {stream.name}.", messages.SUCCESS)
                self._tell_finding(request, stream)
                return HttpResponseRedirect(
                    reverse("admin:durable_state_stream_change", args=[stream.pk])
                )

        context = {
            **self.admin_site.each_context(request),
            "title": f"Edit {stream.name}",
            "opts": self.opts,
            "original": stream,
            "url": mask_query(stream.url),
            "form": form,
            "media": self.media,
        }
        return TemplateResponse(request, "durable_state/admin/edit.html", context)

    def _tell_finding(self, request: HttpRequest, stream: Stream) -> None:
        finding = operations.probe(stream)
        self.message_user(
            request, finding.text, messages.INFO if finding.good else messages.WARNING
        )

    # The list: one report per row, all of them read at once.

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        changelist = super().get_changelist_instance(request)
        streams = list(changelist.result_list)
        found = operations.reports(changelist.queryset.db, pks=[stream.pk for stream in streams])
        for stream in streams:
            stream.shown = shown(found[stream.pk]) if stream.pk in found else {}
        changelist.result_list = streams
        return changelist

    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        live = path("live/", wrap(self.live_view), name="durable_state_stream_live")
        edit = path(
            "<path:object_id>/edit/", wrap(self.edit_view), name="durable_state_stream_edit"
        )
        return [live, edit, *super().get_urls()]

    def live_view(self, request: HttpRequest) -> HttpResponse:
        """What the list's cells show now, as ``{pk: {cell: text}}``.

        Of the streams ``?pk=1&pk=2`` it tells of those that the person may see.
        """
        if not self.has_view_permission(request):
            return JsonResponse({}, status=403)

        given = request.GET.getlist("pk")[: self.list_per_page]
        asked = [int(pk) for pk in given if pk.isdecimal()]
        visible = self.get_queryset(request).filter(pk__in=asked)
        found = operations.reports(visible.db, pks=visible.values_list("pk", flat=True))
        cells = {str(pk): shown(each) for pk, each in found.items()}
        if request.GET.get("page"):
            for pk, told in open_verifications(visible).items():
                cells[pk] |= told
        return JsonResponse(cells)

    @admin.display(description="status, and what to do", ordering="status")
    def state(self, stream: Any) -> SafeString:
        cells = stream.shown
        return format_html(
            '<span class="ds-pill ds-{} ds-is-{}" data-stream="{}" data-cell="status">{}</span>'
            '<span class="ds-error" data-stream="{}" data-cell="error">{}</span>'
            '<span class="ds-action" data-stream="{}" data-cell="action">{}</span>',
            cells.get("tone", "quiet"),
            cells.get("state", "new"),
            stream.pk,
            cells.get("status", "?"),
            stream.pk,
            cells.get("error", ""),
            stream.pk,
            cells.get("action", ""),
        )

    @admin.display(description="lag", ordering="up_to_date_at")
    def lag(self, stream: Any) -> SafeString:
        return _cell(stream, "lag")

    @admin.display(description="rate/s")
    def speed(self, stream: Any) -> SafeString:
        return _cell(stream, "rate")

    @admin.display(description="messages", ordering="ordinal")
    def read(self, stream: Any) -> SafeString:
        return _cell(stream, "ordinal")

    @admin.display(description="applied", ordering="applied_count")
    def applied(self, stream: Any) -> SafeString:
        return _cell(stream, "applied")

    @admin.display(description="parked")
    def parked(self, stream: Any) -> SafeString:
        return _cell(stream, "parked")

    @admin.display(description="letters")
    def letters(self, stream: Any) -> SafeString:
        return _cell(stream, "letters")

    @admin.display(description="other")
    def other(self, stream: Any) -> SafeString:
        return format_html(
            '<span title="{}">{}</span>', stream.shown.get("account", ""), _cell(stream, "other")
        )


def _cell(stream: Any, cell: str) -> SafeString:
    return format_html(
        '<span class="ds-number" data-stream="{}" data-cell="{}">{}</span>',
        stream.pk,
        cell,
        stream.shown.get(cell, ""),
    )
