"""Packs what a row holds beside the columns that the stream writes, and inserts the row with it
again.

A row must sometimes be deleted although the stream still holds its entity. Its primary key and the
application's own columns are then kept, and put back when the entity is shown again.

Why: decision 27.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from django.db import connections, models

from ..plan import TypePlan
from .instances import new_instance
from .row import RowWrite

__all__ = ["insert_kept", "insert_raw", "pack_row"]


def pack_row(plan: TypePlan, row: models.Model) -> bytes:
    """The primary key and the application's own columns, as a JSON object by attname.

    Values are written by their field's ``value_to_string``, as in Django's fixtures.
    """
    packed: dict[str, Any] = {}
    for field in _own_fields(plan):
        value = getattr(row, field.attname)
        if value is None:
            packed[field.attname] = None
        elif isinstance(field, models.JSONField):
            packed[field.attname] = json.dumps(value, cls=field.encoder)
        else:
            packed[field.attname] = str(field.value_to_string(row))
    return json.dumps(packed).encode()


def insert_kept(plan: TypePlan, writes: Sequence[RowWrite]) -> None:
    """Inserts rows with what was kept of them (``RowWrite.kept``).

    They are inserted as fixtures are: a value that a field sets on each save (``auto_now``) stays
    as it was. References to rows of the application that no longer exist become NULL; where that
    is not allowed, the row starts afresh with its defaults.
    """
    unpacked = [_unpack_row(plan, write.kept or b"{}") for write in writes]
    _forget_missing(plan, unpacked)

    rows = [_instance(plan, write, own) for write, own in zip(writes, unpacked, strict=True)]
    insert_raw(plan, [row for row, own in zip(rows, unpacked, strict=True) if own])
    if begun_anew := [row for row, own in zip(rows, unpacked, strict=True) if not own]:
        plan.mapping.model._base_manager.using(plan.using).bulk_create(begun_anew)


def insert_raw(plan: TypePlan, rows: Sequence[models.Model]) -> None:
    """Inserts rows exactly as they are, primary keys included, without calling ``pre_save``."""
    manager: Any = plan.mapping.model._base_manager.using(plan.using)
    fields = [
        field for field in plan.mapping.model._meta.local_concrete_fields if not field.generated
    ]
    if not rows:
        return
    size = max(1, connections[plan.using].ops.bulk_batch_size(fields, list(rows)))
    for start in range(0, len(rows), size):
        manager._insert(rows[start : start + size], fields=fields, using=plan.using, raw=True)


def _own_fields(plan: TypePlan) -> list[models.Field[Any, Any]]:
    """The columns that the stream does not fill, the primary key among them."""
    written = {*plan.places, plan.mapping.key.attname, *plan.scope}
    return [
        field
        for field in plan.mapping.model._meta.local_concrete_fields
        if field.attname not in written and not field.generated
    ]


def _unpack_row(plan: TypePlan, columns: bytes) -> dict[str, Any]:
    """The kept values by attname, without columns that the model no longer has."""
    packed = json.loads(columns)
    values: dict[str, Any] = {}
    for field in _own_fields(plan):
        if field.attname not in packed:
            continue
        value = packed[field.attname]
        if value is not None:
            if isinstance(field, models.JSONField):
                value = json.loads(value, cls=field.decoder)
            else:
                value = field.to_python(value)
        values[field.attname] = value
    return values


def _forget_missing(plan: TypePlan, unpacked: list[dict[str, Any]]) -> None:
    """Removes references to rows that no longer exist, or all values where one is required."""
    for field in _own_fields(plan):
        if not isinstance(field, models.ForeignKey) or not getattr(field, "db_constraint", True):
            continue
        named = {own[field.attname] for own in unpacked if own.get(field.attname) is not None}
        if not named:
            continue

        target = field.target_field.attname
        rows = field.related_model._base_manager.using(plan.using)
        there = set(rows.filter(**{f"{target}__in": named}).values_list(target, flat=True))
        for own in unpacked:
            if own.get(field.attname) in named - there:
                if field.null:
                    own[field.attname] = None
                else:
                    own.clear()


def _instance(plan: TypePlan, write: RowWrite, own: dict[str, Any]) -> models.Model:
    mapped = dict(zip(plan.places, write.values, strict=True))
    values = {**own, **mapped, plan.mapping.key.attname: write.key_value, **plan.scope}
    return new_instance(plan.mapping.model, values)
