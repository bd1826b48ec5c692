"""Shows on a synced row's page where the row comes from, and can request its history."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.admin.utils import quote, unquote
from django.core.exceptions import PermissionDenied
from django.db import models
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.urls.resolvers import URLPattern
from django.utils.translation import gettext as _

from durable_state import operations
from durable_state.registry import EntityMapping, registry

from .hiding import HidingAdmin
from .page_texts import page_texts
from .row_origin import Origin, origins, told_origin
from .visibility import actor

__all__ = ["OriginAdmin"]


class OriginAdmin(HidingAdmin):
    """A ``ModelAdmin`` that shows each row's origin beside its fields."""

    @property
    def mappings(self) -> list[EntityMapping]:
        """The mappings that write the model."""
        concrete = self.model._meta.concrete_model
        return registry.for_model(self.model) or registry.for_model(concrete)

    def is_synced(self, obj: models.Model | None) -> bool:
        """Whether the row belongs to a stream rather than to the application."""
        if obj is None:
            return False
        columns = [mapping.stream_column for mapping in self.mappings]
        return any(each is None or getattr(obj, each.attname) is not None for each in columns)

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.origin_view)
        return [
            path("<path:object_id>/origin/", view, name=self._origin_name),
            *super().get_urls(),
        ]

    @property
    def _origin_name(self) -> str:
        return f"{self.opts.app_label}_{self.opts.model_name}_durable_state_origin"

    def origin_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Serves the fragment that tells where a row comes from; a POST requests its history."""
        row = self.get_object(request, unquote(object_id))
        if row is None or not self.is_synced(row):
            raise Http404
        if not self.has_view_or_change_permission(request, row):
            raise PermissionDenied

        if request.method == "POST":
            self._ask_for_story(request, origins(request, self.mappings, row))
            page = f"admin:{self.opts.app_label}_{self.opts.model_name}_change"
            url = reverse(page, args=[quote(row.pk)], current_app=self.admin_site.name)
            return HttpResponseRedirect(url)
        context = self.origin_context(request, row)
        return TemplateResponse(request, "durable_state/admin/row_origin.html", context)

    def _ask_for_story(self, request: HttpRequest, found: list[Origin]) -> None:
        place = request.POST.get("origin", "")
        if not may_operate(request) or not place.isdecimal() or int(place) >= len(found):
            raise PermissionDenied
        asked = found[int(place)]
        operations.ask_to_verify(
            asked.stream, actor=actor(request), entity_type=asked.type, key=asked.key
        )
        told = _("A worker is reading its history, which will appear here.")
        self.message_user(request, told, messages.SUCCESS)

    def origin_context(self, request: HttpRequest, row: models.Model) -> dict[str, Any]:
        """The extra template context of a row's page."""
        site, found = self.admin_site, origins(request, self.mappings, row)
        name = f"admin:{self._origin_name}"
        return {
            "origins": [told_origin(site, request, each) for each in found],
            "origin_url": reverse(name, args=[quote(row.pk)], current_app=site.name),
            "may_ask": may_operate(request),
            "texts": page_texts(),
        }


def may_operate(request: HttpRequest) -> bool:
    """Whether the person may request verifications, which workers carry out."""
    return bool(request.user.has_perm("durable_state.change_stream"))
