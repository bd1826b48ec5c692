"""What a page needs to follow its rows: which feeds to subscribe to, and from which position."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypedDict

from django.contrib.admin.views.main import ChangeList
from django.db import models
from django.http import HttpRequest

from durable_state.feed.log import stamp_of
from durable_state.models import Stream, TableOwner
from durable_state.policy import audience_of, readable_streams
from durable_state.registry import EntityMapping
from durable_state.registry.scope import one_to_one_to_stream

__all__ = ["Feed", "feeds_of_form", "feeds_of_list", "streams_of_row"]

_STREAMS = 5  # feeds that one page follows at most


class Feed(TypedDict):
    """One subscription of a page: to rows of one type of a stream."""

    stream: str
    type: str
    keys: list[str] | None
    """None: all of them."""
    offset: str
    """The feed's current position, from which the page continues."""


def feeds_of_list(
    request: HttpRequest,
    mappings: Iterable[EntityMapping],
    changelist: ChangeList,
) -> tuple[list[Feed], list[str]]:
    """A list's feeds, and the primary keys of its rows in their order."""
    feeds: list[Feed] = []
    for mapping in mappings:
        values = None
        if (column := mapping.stream_column) is not None:
            listed = changelist.result_list.values_list(column.attname, flat=True)
            values = set(listed) - {None}
        feeds += _feeds(request, mapping, values)

    # Read after the feeds' positions: a commit in between is then sent again instead of missed.
    rows = [str(row.pk) for row in changelist.result_list]
    return feeds[:_STREAMS], rows


def feeds_of_form(
    request: HttpRequest,
    mappings: Iterable[EntityMapping],
    row: models.Model,
) -> tuple[list[Feed], list[str]]:
    """The feeds of one row's page, and the entity keys that the row has in them."""
    feeds: list[Feed] = []
    keys: set[str] = set()
    for mapping in mappings:
        values = None
        if (column := mapping.stream_column) is not None:
            values = {getattr(row, column.attname)} - {None}
        key = mapping.key_of(row)
        found = _feeds(request, mapping, values, [key])
        if found:
            feeds += found
            keys.add(key)
    return feeds[:_STREAMS], sorted(keys)


def streams_of_row(request: HttpRequest, mapping: EntityMapping, row: models.Model) -> list[Stream]:
    """Finds the readable streams that wrote the row through this mapping; normally just one."""
    column = mapping.stream_column
    values = None if column is None else {getattr(row, column.attname)} - {None}
    found = _streams(mapping, values, readable_streams(request.user))
    return [stream for stream in found if mapping.serves(stream.name)]


def _feeds(
    request: HttpRequest, mapping: EntityMapping, values: set[Any] | None, keys: Sequence[str] = ()
) -> list[Feed]:
    """Finds the feeds of the streams to which rows with these stream field values belong."""
    feeds: list[Feed] = []
    for stream in _streams(mapping, values, readable_streams(request.user)):
        if mapping.serves(stream.name):
            audience = audience_of(request.user, stream, [mapping.entity_type], keys)
            feeds.append(
                {
                    "stream": stream.name,
                    "type": mapping.entity_type,
                    "keys": list(keys) or None,
                    "offset": audience.token(stream.revision, stamp_of(stream.logged_at)),
                }
            )
    return feeds


def _streams(
    mapping: EntityMapping, values: set[Any] | None, readable: models.QuerySet[Stream]
) -> list[Stream]:
    """Finds the readable streams to which rows with these stream field values belong."""
    field = mapping.stream_column
    if field is None or values is None:
        owned = TableOwner.objects.filter(model=mapping.label).values("stream")
        return list(readable.filter(pk__in=owned))

    if not isinstance(field, models.ForeignKey):
        return list(readable.filter(name__in=values)[:_STREAMS])

    target = field.target_field.name
    if field.related_model is Stream:
        return list(readable.filter(**{f"{target}__in": values})[:_STREAMS])

    link = one_to_one_to_stream(field.related_model)
    if link is None:
        return []  # a system check says so
    owners = field.related_model._base_manager.filter(**{f"{target}__in": values})
    return list(readable.filter(pk__in=owners.values(link.name))[:_STREAMS])
