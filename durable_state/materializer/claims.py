"""Who may have a unique value.

A row that is shown keeps its value; else the older change wins. Those that come too late are parked, which frees what they held, and
so on until nobody is in another's way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import connections, models
from django.db.models import Q

from .conversion import key_text
from .plan import TypePlan
from .rows import chunks
from .writers import RowWrite

__all__ = ["free_moving_values", "taken"]

Claim = tuple[tuple[str, ...], tuple[Any, ...]]


def taken(plan: TypePlan, writes: Sequence[RowWrite]) -> dict[str, str]:
    """The keys whose unique values are another's, each with a sentence about it. ``writes`` are in the order of their changes."""
    if not plan.unique_sets:
        return {}
    moving = {write.key for write in writes}
    holders = {claim: key for claim, key in _holders(plan, writes).items() if key not in moving}
    for write in writes:
        for claim in _claims(plan, write):
            if write.existing is not None and claim in _held(plan, write):
                holders.setdefault(claim, write.key)
    losers: dict[str, str] = {}
    for write in writes:
        for claim in _claims(plan, write):
            holder = holders.setdefault(claim, write.key)
            if holder != write.key and write.key not in losers:
                losers[write.key] = f"{', '.join(claim[0])} {claim[1]!r} is taken by {holder!r}"
    return losers


def free_moving_values(plan: TypePlan, writes: Sequence[RowWrite]) -> None:
    """Takes unique values away from shown rows that are about to pass them on, so that no statement meets one twice.

    Nullable columns are set to NULL. Where they are not nullable the row is deleted, to be inserted again with its primary key and the
    application's columns.
    """
    for columns in plan.unique_sets:
        wanted = {claim: write.key for write in writes for claim in _claims(plan, write) if claim[0] == columns}
        movers = {
            write.existing.pk: write
            for write in writes
            if write.existing is not None
            and any(wanted.get(claim, write.key) != write.key for claim in _held(plan, write))
        }
        nullable = next((p.attname for p in plan.fields if p.attname in columns and p.field.null), None)
        if nullable is None:
            _set_aside(plan, movers)
            continue
        for chunk in chunks(movers):
            plan.rows().filter(pk__in=chunk).update(**{nullable: None})


def _set_aside(plan: TypePlan, movers: dict[Any, RowWrite]) -> None:
    """Deletes rows and inserts them again with what they shall hold: no statement can swap values that must not be NULL."""
    if not movers:
        return
    instances: list[models.Model] = []
    # MySQL checks foreign keys at once; the rows come back under their primary keys.
    with connections[plan.using].constraint_checks_disabled():
        for chunk in chunks(movers):
            rows = plan.rows().filter(pk__in=chunk)
            instances += rows
            rows._raw_delete(plan.using)
        for instance in instances:
            for attname, value in movers[instance.pk].values.items():
                setattr(instance, attname, value)
        plan.mapping.model._base_manager.using(plan.using).bulk_create(instances)


def _claims(plan: TypePlan, write: RowWrite) -> list[Claim]:
    return _claims_of(plan, {**write.values, plan.mapping.key.attname: write.key_value, **plan.scope})


def _held(plan: TypePlan, write: RowWrite) -> list[Claim]:
    assert write.existing is not None
    return _claims_of(plan, {**write.existing.values, plan.mapping.key.attname: write.key_value, **plan.scope})


def _claims_of(plan: TypePlan, values: dict[str, Any]) -> list[Claim]:
    claims = []
    for columns in plan.unique_sets:
        held = tuple(values.get(column) for column in columns)
        if None not in held:
            claims.append((columns, held))
    return claims


def _holders(plan: TypePlan, writes: Sequence[RowWrite]) -> dict[Claim, str]:
    """Who holds the wanted values now; a row that is not this stream's holds them under a name that is no key."""
    key = plan.mapping.key
    holders: dict[Claim, str] = {}
    own = set(plan.scope.items())
    for columns in plan.unique_sets:
        wanted = {claim[1] for write in writes for claim in _claims(plan, write) if claim[0] == columns}
        for chunk in chunks(wanted, 100):
            condition = Q()
            for held in chunk:
                condition |= Q(**dict(zip(columns, held, strict=True)))
            rows = plan.mapping.model._base_manager.using(plan.using).filter(condition).order_by()
            for key_value, *values in rows.values_list(key.attname, *columns, *plan.scope):
                held, scope = tuple(values[: len(columns)]), set(zip(plan.scope, values[len(columns) :], strict=True))
                text = key_text(key, key_value) if scope == own else f"\0{key_value}"
                holders[columns, held] = text
    return holders
