"""What a page needs to follow its rows: which feeds to subscribe to, and from where."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from django.contrib.admin.views.main import ChangeList
from django.db import models
from django.http import HttpRequest

from durable_state.conversion.jsonable import jsonable
from durable_state.models import Stream, TableOwner
from durable_state.policy import audience_of
from durable_state.registry import EntityMapping
from durable_state.registry.scope import one_to_one_to_stream

from .standing import standing
from .visibility import visible_streams

if TYPE_CHECKING:
    from .synced import SyncedModelAdmin

__all__ = ["live_form", "live_list"]

_STREAMS = 5  # feeds that one page follows at most


def live_list(
    model_admin: SyncedModelAdmin, request: HttpRequest, changelist: ChangeList
) -> dict[str, Any]:
    """The configuration of a list's page: ``feeds``, and the primary keys of its ``rows`` in their order."""
    feeds = []
    for mapping in model_admin.mappings:
        values = None
        if mapping.stream_field is not None:
            values = set(
                changelist.result_list.values_list(
                    mapping.field(mapping.stream_field).attname, flat=True
                )
            ) - {None}
        feeds += _feeds(model_admin, request, mapping, values)
    # Read after the feeds' places, so that a commit in between comes again as a change instead of being missed.
    rows = [str(row.pk) for row in changelist.result_list]
    return _config(model_admin, request, feeds) | {"rows": rows}


def live_form(
    model_admin: SyncedModelAdmin, request: HttpRequest, row: models.Model
) -> dict[str, Any]:
    """The configuration of one row's page: ``feeds``, and the row's entity ``keys`` in them."""
    feeds, keys = [], set()
    for mapping in model_admin.mappings:
        values = None
        if mapping.stream_field is not None:
            values = {getattr(row, mapping.field(mapping.stream_field).attname)} - {None}
        found = _feeds(model_admin, request, mapping, values)
        feeds += found
        keys |= {str(jsonable(mapping.key.value_from_object(row)))} if found else set()
    return _config(model_admin, request, feeds) | {"keys": sorted(keys)}


def _config(
    model_admin: SyncedModelAdmin, request: HttpRequest, feeds: list[dict[str, str]]
) -> dict[str, Any]:
    """The feeds, and how their streams fare: ``standing`` now, and anew at ``standing_url``."""
    followed = feeds[:_STREAMS]
    names = {feed["stream"] for feed in followed}
    return {
        "feeds": followed,
        "standing": standing(visible_streams(request).filter(name__in=names)),
        "standing_url": model_admin.standing_url(sorted(names)),
    }


def _feeds(
    model_admin: SyncedModelAdmin,
    request: HttpRequest,
    mapping: EntityMapping,
    values: set[Any] | None,
) -> list[dict[str, str]]:
    """The feeds of the streams that rows with these stream field values are shown by, each from the place it has now."""
    return [
        {
            "stream": stream.name,
            "url": f"{model_admin.websocket_path}{quote(stream.name)}/?{urlencode({'type': mapping.entity_type})}",
            "offset": audience_of(request.user, stream, [mapping.entity_type]).token(
                stream.revision
            ),
        }
        for stream in _streams(mapping, values, visible_streams(request))
        if mapping.serves(stream.name)
    ]


def _streams(
    mapping: EntityMapping, values: set[Any] | None, visible: models.QuerySet[Stream]
) -> list[Stream]:
    if mapping.stream_field is None or values is None:
        owned = TableOwner.objects.filter(model=mapping.label).values("stream")
        return list(visible.filter(pk__in=owned))
    field = mapping.field(mapping.stream_field)
    if not isinstance(field, models.ForeignKey):
        return list(visible.filter(name__in=values)[:_STREAMS])
    target = field.target_field.name
    if field.related_model is Stream:
        return list(visible.filter(**{f"{target}__in": values})[:_STREAMS])
    link = one_to_one_to_stream(field.related_model)
    if link is None:
        return []  # a system check says so
    owners = field.related_model._base_manager.filter(**{f"{target}__in": values})
    return list(visible.filter(pk__in=owners.values(link.name))[:_STREAMS])
