"""Reading shown rows for subscribers: by key, or page by page; never a whole table."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from typing import Any

from django.db import models

from durable_state.conversion.keys import key_text, key_value
from durable_state.databases import find_database
from durable_state.models import Stream, TableOwner
from durable_state.registry import EntityMapping

from .frames import Item
from .shared_answers import share_answer
from .showing import iterate_shown, read_shown

__all__ = [
    "PAGE_BYTES",
    "PAGE_ROWS",
    "all_keys",
    "page",
    "page_of_keys",
    "rows_by_key",
    "shown_rows",
    "with_parents",
]

PAGE_ROWS = 500
"""Rows in one page, and items in one frame at most."""
PAGE_BYTES = 1024 * 1024
"""Bytes of values in one page, unless a single row has more."""


def shown_rows(mapping: EntityMapping, stream: Stream) -> models.QuerySet[models.Model]:
    """The rows by which this stream's entities are shown.

    A table without a stream field shows those of the stream it belongs to, and none where it
    belongs to another one or to the application; asked anew by each query, since a first sync takes
    the table.

    Raises: MappingFault.
    """
    question = "shown rows", stream.pk, stream.using, mapping.label, mapping.entity_type
    # A copy, since whoever gets it may keep what it reads in it.
    return share_answer(question, lambda: _find_shown_rows(mapping, stream)).all()


def _find_shown_rows(mapping: EntityMapping, stream: Stream) -> models.QuerySet[models.Model]:
    rows = mapping.rows(stream)
    if mapping.stream_field is not None:
        return rows
    owner = TableOwner.objects.using(stream.using).filter(model=mapping.label, stream=stream)
    return rows.filter(models.Exists(owner))


def with_parents(
    mapping: EntityMapping, queryset: models.QuerySet[models.Model]
) -> models.QuerySet[models.Model]:
    """The same rows with the parents that ``represent`` names, so that it asks nothing more."""
    parents = [
        field.name for field in mapping.mapped_fields if mapping.parent_mapping(field) is not None
    ]
    return queryset.select_related(*parents) if parents else queryset


def rows_by_key(
    mapping: EntityMapping, queryset: models.QuerySet[models.Model], keys: Iterable[str]
) -> dict[str, models.Model]:
    """Those of the rows whose entity keys are asked for, by key; in queries of PAGE_ROWS keys."""
    found: dict[str, models.Model] = {}
    values = (key_value(mapping.key, key, queryset.db) for key in keys)
    wanted = [value for value in values if value is not None]
    for start in range(0, len(wanted), PAGE_ROWS):
        chunk = wanted[start : start + PAGE_ROWS]
        rows = with_parents(mapping, queryset).filter(**{f"{mapping.key_field}__in": chunk})
        found |= {mapping.key_of(row): row for row in read_shown(rows) if row is not None}
    return found


def page(
    mapping: EntityMapping,
    queryset: models.QuerySet[models.Model],
    after: Any,
    render: Callable[[Any], Item | None],
    room: int | None = None,
) -> tuple[list[Item], Any]:
    """The next rows by key, rendered, and where the next page begins (None: that was all).

    They follow the key field's value ``after`` (None: from the first). They are at most PAGE_ROWS,
    and ``room`` bytes (None: PAGE_BYTES), unless a single one has more. Rows that cannot be read
    are left out.
    """
    following = with_parents(mapping, _following(mapping, queryset, after))[:PAGE_ROWS]
    items: list[Item] = []
    left = PAGE_BYTES if room is None else room
    row, count = None, 0
    reading = find_database(queryset.db).reading_as_needed()
    with reading, contextlib.closing(iterate_shown(following)) as rows:
        for row in rows:
            count += 1
            item = None if row is None else render(row)
            if item is not None:
                items.append(item)
                left -= item.size
            if left <= 0:
                return items, mapping.key.value_from_object(row)
    if count < PAGE_ROWS:
        return items, None
    if row is None:
        return items, following.values_list(mapping.key.attname, flat=True)[PAGE_ROWS - 1]
    return items, mapping.key.value_from_object(row)


def page_of_keys(
    mapping: EntityMapping, queryset: models.QuerySet[models.Model], after: Any
) -> tuple[list[str], Any]:
    """The same of the entity keys alone."""
    found = list(
        _following(mapping, queryset, after).values_list(mapping.key.attname, flat=True)[:PAGE_ROWS]
    )
    return [key_text(mapping.key, key) for key in found], found[-1] if len(
        found
    ) == PAGE_ROWS else None


def all_keys(
    mapping: EntityMapping, queryset: models.QuerySet[models.Model], limit: int | None = None
) -> list[str]:
    """The entity keys of all the rows, or of ``limit`` of them."""
    keys = queryset.order_by().values_list(mapping.key.attname, flat=True)[:limit]
    return [key_text(mapping.key, key) for key in keys.iterator() if key is not None]


def _following(
    mapping: EntityMapping, queryset: models.QuerySet[models.Model], after: Any
) -> models.QuerySet[models.Model]:
    """Rows in the order of their keys.

    (stream field, key field) is unique, so every page is one walk along that index. By primary
    key, a database may sort all rows of the stream for each page.
    """
    beyond = (
        {f"{mapping.key_field}__isnull": False}
        if after is None
        else {f"{mapping.key_field}__gt": after}
    )
    return queryset.filter(**beyond).order_by(mapping.key.attname)
