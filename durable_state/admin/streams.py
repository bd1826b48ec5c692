"""Streams in the admin: a live list, a page for each, and the verbs as confirmed actions."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import django.db
from django.contrib import admin, messages
from django.contrib.admin.helpers import Fieldset
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.urls.resolvers import URLPattern
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from durable_state import operations
from durable_state.errors import OperationRefused
from durable_state.models import Stream
from durable_state.policy import readable_streams
from durable_state.protocol.url import mask_query

from .charts import sparklines
from .page_texts import page_texts
from .paging import COUNTED
from .states import STATES
from .stream_actions import STREAM_ACTIONS
from .stream_cells import CELLS, cell
from .stream_filters import AttentionFilter, ShownStatusFilter
from .stream_forms import AddStreamForm, EditStreamForm
from .stream_list import StreamList, chips, told_attention
from .stream_page import stream_page
from .visibility import OperatorAdmin, actor

__all__ = ["StreamAdmin"]

MANY = 200
"""From this many streams on, an open list refreshes its counts by status less often."""


@admin.register(Stream)
class StreamAdmin(OperatorAdmin):
    """Streams are added with a form and changed by actions; everything else is read-only."""

    form = AddStreamForm
    change_form_template = "durable_state/admin/stream.html"
    change_list_template = "durable_state/admin/stream_list.html"
    actions = STREAM_ACTIONS
    list_display = ["name", "state", "speed", "lag", "read", "letters", "parked", "other"]
    list_filter = [AttentionFilter, ShownStatusFilter]
    # Not the URL: a search would reveal its masked query letter by letter.
    search_fields = ["name", "last_error"]
    lookups = frozenset({"attention", "shown", "status__exact", "paused__exact"})
    list_per_page = 50
    show_full_result_count = True  # there are not so many streams

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
            # Something the form could not know, such as a table that belongs to another stream.
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
        page = {}
        if stream is not None:
            page = stream_page(self, request, stream) | {"texts": page_texts()}
        return super().change_view(request, object_id, form_url, page | (extra_context or {}))

    def edit_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Changes the stream's URL, or how its tail is followed."""
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
                self.message_user(
                    request, _("Changed %(name)s.") % {"name": stream.name}, messages.SUCCESS
                )
                self._tell_finding(request, stream)
                return HttpResponseRedirect(
                    reverse("admin:durable_state_stream_change", args=[stream.pk])
                )

        context = {
            **self.admin_site.each_context(request),
            "title": _("Edit %(name)s") % {"name": stream.name},
            "opts": self.opts,
            "original": stream,
            "url": mask_query(stream.url),
            "form": form,
            "fieldset": Fieldset(form, fields=list(form.fields)),  # type: ignore[arg-type]
            "media": self.media,
        }
        return TemplateResponse(request, "durable_state/admin/edit.html", context)

    def _tell_finding(self, request: HttpRequest, stream: Stream) -> None:
        finding = operations.probe(stream)
        self.message_user(
            request, finding.text, messages.INFO if finding.good else messages.WARNING
        )

    # The list: the reports of all its rows are read at once.

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return StreamList

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        changelist = super().get_changelist_instance(request)
        streams = list(changelist.result_list)
        reports, sparks = self._shown(changelist.queryset.db, [stream.pk for stream in streams])
        for stream in streams:
            stream.report, stream.spark = reports.get(stream.pk), sparks[stream.pk]
        changelist.result_list = streams
        return changelist

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        extra = {
            "chips": chips(request, self.get_queryset(request)),
            "states": STATES,
            "texts": page_texts(),
            "live_url": reverse(
                "admin:durable_state_stream_live", current_app=self.admin_site.name
            ),
        }
        return super().changelist_view(request, extra | (extra_context or {}))

    def _shown(self, using: str, pks: list[int]) -> tuple[dict[int, Any], dict[int, Any]]:
        reports = operations.reports(using, pks=pks, count_to=COUNTED)
        return reports, sparklines(using, pks)

    def get_model_perms(self, request: HttpRequest) -> dict[str, bool]:
        """Also tells the admin's index which streams need attention."""
        perms = super().get_model_perms(request)
        match = request.resolver_match
        is_index = match is not None and match.url_name == "index"
        if is_index and self.has_view_permission(request) and not hasattr(request, _TOLD):
            setattr(request, _TOLD, True)
            told, streams = "", self.get_queryset(request)
            # Everybody uses the index: it must work even if our tables are missing.
            with suppress(django.db.Error), transaction.atomic(using=streams.db):
                told = told_attention(request, streams)
            if told:
                link = reverse(
                    "admin:durable_state_stream_changelist", current_app=self.admin_site.name
                )
                text = format_html('<a href="{}?attention=needed">{}</a>', link, told)
                self.message_user(request, text, messages.WARNING)
        return perms

    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        name = "durable_state_stream"
        return [
            path("live/", wrap(self.live_view), name=f"{name}_live"),
            path("<int:object_id>/live/", wrap(self.live_page_view), name=f"{name}_live_page"),
            path("<path:object_id>/edit/", wrap(self.edit_view), name=f"{name}_edit"),
            *super().get_urls(),
        ]

    def live_view(self, request: HttpRequest) -> HttpResponse:
        """The current parts of the list, for the streams ``?pk=1&pk=2`` that the user may see.

        They are the same elements as in the list, by ``data-part``. If there are many streams, the
        counts by status are included only with ``whole=1``.
        """
        if not self.has_view_permission(request):
            raise PermissionDenied

        given = request.GET.getlist("pk")[: self.list_per_page]
        asked = [int(pk) for pk in given if pk.isdecimal()]
        every = self.get_queryset(request)
        pks = list(every.filter(pk__in=asked).values_list("pk", flat=True))
        reports, sparks = self._shown(every.db, pks)
        cells = [cell(pk, name, reports.get(pk), sparks[pk]) for pk in pks for name in CELLS]
        if request.GET.get("whole") or every[:MANY].count() < MANY:
            cells.insert(0, format_html('<nav data-part="chips">{}</nav>', chips(request, every)))
        return HttpResponse(format_html_join("", "{}", ((each,) for each in cells)))

    def live_page_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        """Renders one stream's page as it is now, without the surrounding layout."""
        stream = self.get_object(request, str(object_id))
        if stream is None:
            raise Http404
        if not self.has_view_permission(request, stream):
            raise PermissionDenied

        context = stream_page(self, request, stream) | {"original": stream, "opts": self.opts}
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "durable_state/admin/stream_live.html", context)

    def _cell(self, stream: Any, name: str) -> SafeString:
        return cell(stream.pk, name, stream.report, stream.spark)

    @admin.display(description=_("status"), ordering="status")
    def state(self, stream: Any) -> SafeString:
        return self._cell(stream, "state")

    @admin.display(description=_("messages/s"))
    def speed(self, stream: Any) -> SafeString:
        return self._cell(stream, "speed")

    @admin.display(description=_("lag"), ordering="up_to_date_at")
    def lag(self, stream: Any) -> SafeString:
        return self._cell(stream, "lag")

    @admin.display(description=_("messages"), ordering="ordinal")
    def read(self, stream: Any) -> SafeString:
        return self._cell(stream, "read")

    @admin.display(description=_("dead letters"))
    def letters(self, stream: Any) -> SafeString:
        return self._cell(stream, "letters")

    @admin.display(description=_("parked"))
    def parked(self, stream: Any) -> SafeString:
        return self._cell(stream, "parked")

    @admin.display(description=_("other"))
    def other(self, stream: Any) -> SafeString:
        return self._cell(stream, "other")


_TOLD = "durable_state_told"
