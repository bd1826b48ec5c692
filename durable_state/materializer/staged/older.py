"""The older changes that an entity falls back on when the database refuses its newest staged one.

Conversion refuses a change before it is staged. A CHECK constraint refuses it only at the switch,
and then the row has to be what the change before it made, as in a live batch. So for models with
such constraints a generation keeps as many older changes as may be needed.

Why: decision 28.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
from django.core.exceptions import ValidationError
from django.db import DatabaseError, models

from durable_state.conversion import Refused

from ..batch.compaction import EntityChanges, fold_entity
from ..batch.defaults import settle
from ..batch.preparation import Prepared, from_bytes, to_bytes
from ..plan import TypePlan
from ..rows.instances import read_instances

__all__ = [
    "Older",
    "earlier_in_batch",
    "pack_older",
    "passes_checks",
    "revive",
    "unpack_older",
]

MANY = 8
"""Older changes of one entity that are kept without checking which of them may be needed."""


class Older(NamedTuple):
    """One older change of an entity, as it is staged."""

    ordinal: int
    prepared: bytes
    body: bytes


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Older]).decode


def pack_older(plan: TypePlan, key: str, older: Sequence[Older]) -> bytes:
    """The changes, newest first, as ``StagedChange.older`` holds them, without those that cannot be
    needed.
    """
    if not older:
        return b""
    if len(older) > MANY:
        older = _needed(plan, key, older)
    return _encode(older)


def unpack_older(packed: bytes | memoryview) -> list[Older]:
    """The opposite of ``pack_older``."""
    return _decode(bytes(packed)) if packed else []


def _needed(plan: TypePlan, key: str, older: Sequence[Older]) -> Sequence[Older]:
    """The changes up to the newest that the database is sure to accept."""
    for number, each in enumerate(older, 1):
        put = revive(plan, key, each)
        if put is not None and passes_checks(plan, put):
            return older[:number]
    return []


def revive(plan: TypePlan, key: str, older: Older) -> Prepared | None:
    """The prepared change; None where the mapping refuses it, because it has changed since."""
    try:
        return from_bytes(plan, key, older.ordinal, older.prepared, older.body)
    except Refused:
        return None


def earlier_in_batch(
    plan: TypePlan, entity: EntityChanges, settle: Any
) -> tuple[list[Older], bool]:
    """What the earlier changes of one batch made of the entity, newest first.

    Also returns whether the entity was deleted in the batch, so that what was staged before does
    not count. ``settle`` completes partial updates.
    """
    found: list[Older] = []
    newest = entity.put
    if newest is None or entity.older is None:
        return found, False
    for ordinal, _ in entity.newest_first():
        if ordinal >= newest.ordinal:
            continue
        before = EntityChanges(
            entity.key, entity.newest_at, entity.newest, entity.older, dict(entity.refused or {})
        )
        before.limit = ordinal
        fold_entity(plan, before)
        settle(before)
        if before.put is None:
            if before.deleted:
                return found, True
            break  # those before it are refused, too
        if not found or before.put.ordinal < found[-1].ordinal:
            found.append(Older(before.put.ordinal, to_bytes(plan, before.put), before.put.body))
    return found, False


def passes_checks(plan: TypePlan, put: Prepared) -> bool:
    """Whether the row would satisfy the model's CHECK constraints, given the application's columns
    as they are.
    """
    model = plan.mapping.model
    rows = plan.rows().filter(**{plan.mapping.key.attname: put.key_value})
    row = next(iter(read_instances(rows)), None) or model()
    for planned, value in zip(plan.fields, settle(put.values), strict=True):
        if not planned.is_relation:
            row.__dict__[planned.attname] = value
    for constraint in model._meta.constraints:
        if not isinstance(constraint, models.CheckConstraint):
            continue
        try:
            constraint.validate(model, row, using=plan.using)
        except (ValidationError, DatabaseError):
            return False
    return True
