"""Who may have a unique value.

A row that is shown keeps its value; else the older change wins. Those that come too late are parked, which frees what they held, and
so on until nobody is in another's way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import connections, models, transaction
from django.db.models import Q

from .conversion import key_text
from .plan import TypePlan, Values
from .rows import CHUNK, RowFailure, chunks, write_rows
from .writers import RowWrite

__all__ = ["Lost", "free_moving_values", "gives_up", "refused_themselves", "taken"]

Claim = tuple[tuple[str, ...], tuple[Any, ...]]
Lost = tuple[str, str | None]

NOT_OURS = "\0"
"""Begins the name of a holder that is no row of this stream; no key has it."""


def taken(plan: TypePlan, writes: Sequence[RowWrite]) -> dict[str, Lost]:
    """The keys whose unique values are another's, each with a sentence about it and the holder's key; None: no row of this stream.

    ``writes`` are in the order of their changes. One that loses any of its values takes none from those after it.
    """
    if not plan.unique_sets:
        return {}
    moving = {write.key for write in writes}
    claims = [(write, _claims(plan, write)) for write in writes]
    holders = {claim: key for claim, key in _holders(plan, claims).items() if key not in moving}
    for write, wanted in claims:
        if write.existing is not None:
            held = _held(plan, write)
            for claim in wanted:
                if claim in held:
                    holders.setdefault(claim, write.key)
    losers: dict[str, Lost] = {}
    for write, wanted in claims:
        lost = [claim for claim in wanted if holders.get(claim, write.key) != write.key]
        if not lost:
            holders |= dict.fromkeys(wanted, write.key)
            continue
        claim = lost[0]
        holder = None if holders[claim].startswith(NOT_OURS) else holders[claim]
        by = "a row that is not this stream's" if holder is None else repr(holder)
        losers[write.key] = f"{', '.join(claim[0])} {claim[1]!r} is taken by {by}", holder
    return losers


def gives_up(plan: TypePlan, write: RowWrite) -> bool:
    """Whether a shown row no longer has a unique value that it had."""
    row = write.existing
    return row is not None and any(
        row.values[place] != write.values[place]
        for columns in plan.unique_sets
        for column in columns
        if (place := plan.places.get(column)) is not None
    )


def refused_themselves(plan: TypePlan, failures: list[RowFailure]) -> list[RowFailure]:
    """Without the rows that the database refused only because another one, refused too, still has their unique value."""
    if not plan.unique_sets or len(failures) < 2:
        return failures
    claims = [(failure.write, _claims(plan, failure.write)) for failure in failures]
    holders = _holders(plan, claims)
    guilty = []
    for failure, (write, wanted) in zip(failures, claims, strict=True):
        in_the_way = {
            key for claim in wanted if (key := holders.get(claim, write.key)) != write.key
        }
        if not in_the_way or not _fits_without(plan, write, in_the_way):
            guilty.append(failure)
    return guilty or failures


def _fits_without(plan: TypePlan, write: RowWrite, others: set[str]) -> bool:
    """Whether the row could be written were the others not there; nothing is changed."""
    others = {other for other in others if not other.startswith(NOT_OURS)}
    with transaction.atomic(using=plan.using):
        with connections[plan.using].constraint_checks_disabled():
            for rows in (
                plan.rows().filter(**{plan.mapping.key.attname: plan.key_value(other)})
                for other in others
            ):
                rows._raw_delete(plan.using)
        fits = not write_rows(plan, [write], clear_the_way=free_moving_values)
        transaction.set_rollback(True, using=plan.using)
    return fits


def free_moving_values(plan: TypePlan, writes: Sequence[RowWrite]) -> None:
    """Takes unique values away from shown rows that are about to pass them on, so that no statement meets one twice.

    Nullable columns are set to NULL. Where they are not nullable the row is deleted, to be inserted again with its primary key and the
    application's columns.
    """
    for columns in plan.unique_sets:
        wanted = {
            claim: write.key
            for write in writes
            for claim in _claims(plan, write)
            if claim[0] == columns
        }
        movers = {
            write.existing.pk: write
            for write in writes
            if write.existing is not None
            and any(wanted.get(claim, write.key) != write.key for claim in _held(plan, write))
        }
        nullable = next(
            (p.attname for p in plan.fields if p.attname in columns and p.field.null), None
        )
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
            for planned, value in zip(plan.fields, movers[instance.pk].values, strict=True):
                setattr(instance, planned.attname, value)
        plan.mapping.model._base_manager.using(plan.using).bulk_create(instances)


def _claims(plan: TypePlan, write: RowWrite) -> list[Claim]:
    return _claims_of(plan, write, write.values)


def _held(plan: TypePlan, write: RowWrite) -> list[Claim]:
    assert write.existing is not None
    return _claims_of(plan, write, write.existing.values)


def _claims_of(plan: TypePlan, write: RowWrite, held_values: Values) -> list[Claim]:
    mapped = dict(zip(plan.places, held_values, strict=True))
    values = {**mapped, plan.mapping.key.attname: write.key_value, **plan.scope}
    claims = []
    for columns in plan.unique_sets:
        held = tuple(values.get(column) for column in columns)
        if None not in held:
            claims.append((columns, held))
    return claims


def _holders(plan: TypePlan, claims: Sequence[tuple[RowWrite, list[Claim]]]) -> dict[Claim, str]:
    """Who holds the wanted values now; a row that is not this stream's holds them under a name that is no key."""
    key = plan.mapping.key
    holders: dict[Claim, str] = {}
    own = set(plan.scope.items())
    for columns in plan.unique_sets:
        wanted = {claim[1] for _, some in claims for claim in some if claim[0] == columns}
        for chunk in chunks(wanted, 100 if len(columns) > 1 else CHUNK):
            rows = (
                plan.mapping.model._base_manager.using(plan.using)
                .filter(_any_of(columns, chunk))
                .order_by()
            )
            for key_value, *values in rows.values_list(key.attname, *columns, *plan.scope):
                held, scope = (
                    tuple(values[: len(columns)]),
                    set(zip(plan.scope, values[len(columns) :], strict=True)),
                )
                text = key_text(key, key_value) if scope == own else f"{NOT_OURS}{key_value}"
                holders[columns, held] = text
    return holders


def _any_of(columns: tuple[str, ...], held: list[tuple[Any, ...]]) -> Q:
    if len(columns) == 1:
        return Q(**{f"{columns[0]}__in": [values[0] for values in held]})
    condition = Q()
    for values in held:
        condition |= Q(**dict(zip(columns, values, strict=True)))
    return condition
