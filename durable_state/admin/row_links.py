"""Links to the rows of entities in the admin."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib.admin import AdminSite
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse

from durable_state.errors import MappingFault
from durable_state.feed import shown_rows
from durable_state.feed.rows import rows_by_key
from durable_state.models import Stream
from durable_state.policy import readable_rows
from durable_state.registry import registry

__all__ = ["row_urls"]

Entity = tuple[Stream, str, str]
"""A stream, a type and a key."""


def row_urls(
    site: AdminSite, request: HttpRequest, entities: Iterable[Entity]
) -> dict[tuple[int, str, str], str]:
    """The pages of the entities' rows, by stream, type and key.

    Only of rows that the user may see, and of models that the site has pages for. One query for
    each stream and type.
    """
    wanted: dict[tuple[int, str], list[str]] = {}
    streams: dict[int, Stream] = {}
    for stream, entity_type, key in entities:
        wanted.setdefault((stream.pk, entity_type), []).append(key)
        streams[stream.pk] = stream

    found: dict[tuple[int, str, str], str] = {}
    for (pk, entity_type), keys in wanted.items():
        mapping = registry.find(entity_type, streams[pk].name)
        model_admin: Any = None if mapping is None else site._registry.get(mapping.model)
        if mapping is None or model_admin is None or not model_admin.has_view_permission(request):
            continue
        try:
            rows = readable_rows(request.user, shown_rows(mapping, streams[pk]))
            name = f"admin:{mapping.model._meta.app_label}_{mapping.model._meta.model_name}_change"
            for key, row in rows_by_key(mapping, rows, keys).items():
                found[pk, entity_type, key] = reverse(name, args=[row.pk], current_app=site.name)
        except (MappingFault, NoReverseMatch):
            continue
    return found
