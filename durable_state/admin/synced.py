"""The admin of a project's own synced models: what the stream writes is read-only, what the
application owns is editable.
"""

from __future__ import annotations

import logging
from typing import Any
from urllib.parse import urlencode

import django.db
from django.contrib import messages
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db import models
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.templatetags.static import static
from django.urls import get_script_prefix, path, reverse
from django.urls.resolvers import URLPattern
from django.utils.translation import gettext as _

from durable_state.feed.showing import read_shown
from durable_state.models import Stream
from durable_state.policy import hidden_columns, readable_streams

from .liveness import liveness
from .origin_page import OriginAdmin
from .page_feeds import Feed, feeds_of_form, feeds_of_list
from .page_texts import page_texts
from .paging import BoundedChangeList, BoundedPaginator
from .parents import blank_hidden_parents

__all__ = ["SyncedModelAdmin"]

logger = logging.getLogger("durable_state.admin")

LISTED_FIELDS = 7
"""How many columns a list shows if the admin class declares none."""


class SyncedModelAdmin(OriginAdmin):
    """A ``ModelAdmin`` that can never change, add or delete what belongs to a stream,
    and that shows its changes as they come.

    Subclass it for a mapped model as you would ``ModelAdmin``. Rows whose stream field is NULL are
    the application's: those can be added, edited and deleted. ``websocket_path`` is where
    ``durable_state.routing.websocket_urlpatterns`` is mounted, below ``FORCE_SCRIPT_NAME`` if that
    is set; without websockets, the pages work like any others.
    """

    websocket_path = "/ws/state/"
    change_list_template = "durable_state/admin/synced_list.html"
    change_form_template = "durable_state/admin/synced_form.html"

    paginator = BoundedPaginator
    show_full_result_count = False

    class Media:
        css = {"all": ["durable_state/admin.css"]}
        js = ["durable_state/live.js", "durable_state/streams.js"]

    def synced_fields(self) -> list[str]:
        """The names of the fields that streams write, in the model's order.

        Key and stream field are among them.
        """
        names: set[str | None] = set()
        for mapping in self.mappings:
            names |= {mapping.key_field, mapping.stream_field}
            names |= {field.name for field in mapping.mapped_fields}
        return [field.name for field in self.model._meta.concrete_fields if field.name in names]

    def holds_own_rows(self) -> bool:
        """Whether the table can hold the application's own rows, whose stream field is NULL."""
        columns = [mapping.stream_column for mapping in self.mappings]
        return all(each is not None and each.null for each in columns)

    def get_list_display(self, request: HttpRequest) -> Any:
        """The declared columns; by default the key and the first fields that streams write."""
        declared = super().get_list_display(request)
        if self.list_display != ("__str__",) or list(declared) != ["__str__"]:
            return declared
        hidden = hidden_columns(request.user, self.model)
        keys = [mapping.key_field for mapping in self.mappings]
        names = dict.fromkeys([*keys, *self.synced_fields()])
        return [name for name in names if name not in hidden][:LISTED_FIELDS] or declared

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> Any:
        return BoundedChangeList

    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        return [
            path("durable-state/", wrap(self.liveness_view), name=self._liveness_name),
            *super().get_urls(),
        ]

    @property
    def _liveness_name(self) -> str:
        return f"{self.opts.app_label}_{self.opts.model_name}_durable_state"

    def liveness_view(self, request: HttpRequest) -> HttpResponse:
        """Serves the state of the streams ``?stream=a&stream=b`` that the person may see."""
        if not self.has_view_or_change_permission(request):
            return JsonResponse({}, status=403)
        names = request.GET.getlist("stream")[:50]
        return JsonResponse(liveness(readable_streams(request.user).filter(name__in=names)))

    def _live(self, request: HttpRequest, feeds: list[Feed]) -> dict[str, Any]:
        """Gives a page its feeds, the state of their streams, and the URL to ask for that again."""
        names = sorted({feed["stream"] for feed in feeds})
        url = reverse(f"admin:{self._liveness_name}", current_app=self.admin_site.name)
        return {
            "feeds": feeds,
            "socket": get_script_prefix() + self.websocket_path.removeprefix("/"),
            "client": static("durable_state/client.js"),
            "texts": page_texts(),
            "liveness": liveness(readable_streams(request.user).filter(name__in=names)),
            "liveness_url": f"{url}?{urlencode([('stream', name) for name in names])}",
        }

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        declared = list(super().get_readonly_fields(request, obj))
        if self.is_synced(obj):
            synced = self.synced_fields()
        else:
            streams = {mapping.stream_field: None for mapping in self.mappings}
            synced = [name for name in streams if name is not None]
        return [*declared, *(name for name in synced if name not in declared)]

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        if self.fieldsets or self.fields or not self.is_synced(obj):
            return super().get_fieldsets(request, obj)

        synced = self.synced_fields()
        own = [name for name in self.get_fields(request, obj) if name not in synced]
        parts = [(_("From the stream"), synced), (_("Not from the stream"), own)]
        fieldsets = [(title, {"fields": names}) for title, names in parts if names]
        return self.without_hidden_fields(request, fieldsets)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self.holds_own_rows() and super().has_add_permission(request)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return (
            self.holds_own_rows()
            and not self.is_synced(obj)
            and super().has_delete_permission(request, obj)
        )

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Writes only the application's own columns of a synced row.

        The form holds the other columns as they were when it was opened.
        """
        if not change or not self.is_synced(obj):
            super().save_model(request, obj, form, change)
            return
        synced = set(self.synced_fields())
        touched = {
            field.name
            for field in obj._meta.concrete_fields
            if field.name in form.changed_data
            or (getattr(field, "auto_now", False) and form.changed_data)
        }

        if own := touched - synced:
            obj.save(update_fields=own)

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> models.Model | None:
        try:
            found = super().get_object(request, object_id, from_field)
            blank_hidden_parents(request, [] if found is None else [found])
            return found
        except (django.db.Error, PermissionDenied):
            raise
        except Exception as error:  # raised by a field's own code
            logger.exception("%s %r cannot be shown.", self.opts.label, object_id)
            self.message_user(
                request,
                _("%(name)s %(key)s cannot be shown: %(error)s")
                % {
                    "name": self.opts.verbose_name,
                    "key": object_id,
                    "error": f"{type(error).__name__}: {error}",
                },
                messages.ERROR,
            )
            return None

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        changelist = super().get_changelist_instance(request)
        self._leave_out_unreadable(request, changelist)
        feeds, rows = feeds_of_list(request, self.mappings, changelist)
        page = self._live(request, feeds) | {"rows": rows}
        changelist.durable_state = page  # type: ignore[attr-defined]
        changelist.durable_state_streams = self._stream_links(request, feeds)  # type: ignore[attr-defined]
        blank_hidden_parents(request, changelist.result_list)
        return changelist

    def _stream_links(self, request: HttpRequest, feeds: list[Feed]) -> list[tuple[str, str]]:
        """The streams of a list, with links to their pages if the user may see those."""
        names = sorted({feed["stream"] for feed in feeds})
        model_admin: Any = self.admin_site._registry.get(Stream)
        if model_admin is None or not model_admin.has_view_permission(request):
            return [(name, "") for name in names]
        url, site = "admin:durable_state_stream_change", self.admin_site.name
        pks = readable_streams(request.user).filter(name__in=names).values_list("name", "pk")
        return [(name, reverse(url, args=[pk], current_app=site)) for name, pk in sorted(pks)]

    def _leave_out_unreadable(self, request: HttpRequest, changelist: ChangeList) -> None:
        rows = read_shown(changelist.result_list)
        readable = [row for row in rows if row is not None]
        if len(readable) < len(rows):
            # Not of the page, which is a slice, but in its order.
            listed = changelist.queryset.filter(pk__in=[row.pk for row in readable])
            changelist.result_list = listed
            self.message_user(
                request,
                _("%(count)d of these rows cannot be shown and are left out; the log says why.")
                % {"count": len(rows) - len(readable)},
                messages.ERROR,
            )

    def render_change_form(
        self,
        request: HttpRequest,
        context: dict[str, Any],
        add: bool = False,
        change: bool = False,
        form_url: str = "",
        obj: Any = None,
    ) -> HttpResponse:
        if self.is_synced(obj):
            feeds, keys = feeds_of_form(request, self.mappings, obj)
            context["durable_state"] = self._live(request, feeds) | {"keys": keys}
            context |= self.origin_context(request, obj)
        return super().render_change_form(request, context, add, change, form_url, obj)
