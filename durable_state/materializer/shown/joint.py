"""Rows that can only be shown together, because each points to another of them.

They are inserted with stand-ins for the parents that are not there yet (NULL, where the column may
be NULL) and linked when all are.

Why: decision 21.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from django.db import connections, models, transaction

from ..batch.defaults import settle
from ..batch.preparation import Prepared
from ..plan import TypePlan, Values
from ..rows.claims import Claims, Lost, make_way
from ..rows.relations import MissingParent, resolve_parents, untolerated
from ..rows.row import ExistingRow, RowWrite
from ..rows.rows import RowFailure, changing, read_rows, row_write, write_rows

__all__ = ["LEVELS", "Trouble", "closed_part", "settle_blockers", "show_jointly"]

EntityName = tuple[str, Any]
Group = dict[TypePlan, list[Prepared]]

LEVELS = 8
"""Levels of rows that are inserted with their parents before stand-ins are taken for parents that
must not be NULL.
"""
UNSIGNED = (
    models.PositiveBigIntegerField,
    models.PositiveIntegerField,
    models.PositiveSmallIntegerField,
)


@dataclass(slots=True)
class Trouble:
    """Why the rows of a type cannot be shown with the others: refused, their unique value taken, or
    no stand-in to be had.
    """

    plan: TypePlan
    failures: list[RowFailure] = field(default_factory=list)
    lost: dict[str, Lost] = field(default_factory=dict)
    impossible: set[str] = field(default_factory=set)


class _Stuck(Exception):
    def __init__(self, trouble: Trouble) -> None:
        self.trouble = trouble


def settle_blockers(
    missing: Mapping[EntityName, Sequence[MissingParent]],
) -> dict[EntityName, MissingParent]:
    """Those of the entities that cannot be shown even if all others were, each with the parent that
    it has to wait for.

    What is not among them forms the greatest closed set: each misses others of the set only. No
    entity waits for one that waits for it.
    """
    children: defaultdict[EntityName, list[tuple[EntityName, MissingParent]]] = defaultdict(list)
    blockers: dict[EntityName, MissingParent] = {}
    todo: list[EntityName] = []
    for entity, parents in missing.items():
        for parent in parents:
            if parent.entity in missing:
                children[parent.entity].append((entity, parent))
            elif entity not in blockers:
                blockers[entity] = parent
                todo.append(entity)
    while todo:
        for child, parent in children[todo.pop()]:
            if child not in blockers:
                blockers[child] = parent
                todo.append(child)
    return blockers


def closed_part(puts: Mapping[TypePlan, Sequence[Prepared]]) -> Group:
    """The greatest part of the puts in which all that miss a parent find it in the part."""
    missing: dict[EntityName, Sequence[MissingParent]] = {}
    for plan, some in puts.items():
        _, absent = resolve_parents(plan, some)
        missing |= {
            (plan.type, put.key): untolerated(each) for put, each in zip(some, absent, strict=True)
        }
    blocked = settle_blockers(missing)
    parts = {
        plan: [put for put in some if (plan.type, put.key) not in blocked]
        for plan, some in puts.items()
    }
    return {plan: some for plan, some in parts.items() if some}


def show_jointly(
    closed: Group, kept: Mapping[TypePlan, Mapping[str, bytes]]
) -> dict[TypePlan, list[RowWrite]] | Trouble:
    """Writes a closed set, all of it or, with the trouble that one type has, nothing.

    ``kept``: what was kept of rows that had to go, by digest.
    """
    try:
        with transaction.atomic(using=next(iter(closed)).using):
            return _Joint(closed, kept).show()
    except _Stuck as stuck:
        return stuck.trouble


class _Joint:
    def __init__(self, closed: Group, kept: Mapping[TypePlan, Mapping[str, bytes]]) -> None:
        self._closed = closed
        self._kept = kept
        self._values = {(plan.type, put.key): put for plan, some in closed.items() for put in some}
        self._types = {plan.type: plan for plan in closed}
        self._numbers = count(1)
        self._written: dict[TypePlan, dict[str, RowWrite]] = {plan: {} for plan in closed}

    def show(self) -> dict[TypePlan, list[RowWrite]]:
        left = dict(self._closed)
        linking: defaultdict[TypePlan, list[Prepared]] = defaultdict(list)
        # Level by level: first those whose parents are there. Where a level brings nothing, only
        # stand-ins for the parents help.
        for number in range(LEVELS + 1):
            before = sum(map(len, left.values()))
            for plan in list(left):
                left[plan] = self._insert(plan, left[plan], linking[plan], forced=number == LEVELS)
            after = sum(map(len, left.values()))
            if not after:
                break
            if after == before:
                for plan in list(left):
                    left[plan] = self._insert(plan, left[plan], linking[plan], forced=True)
                break

        # All are there now: stand-ins and NULLs become the parents.
        for plan, puts in linking.items():
            self._link(plan, puts)
        return {plan: list(writes.values()) for plan, writes in self._written.items()}

    def _insert(
        self, plan: TypePlan, puts: list[Prepared], linking: list[Prepared], *, forced: bool
    ) -> list[Prepared]:
        """Writes the puts that miss no parent which must not be NULL, or (``forced``) all; returns
        those that are left.
        """
        if not puts:
            return []
        existing = read_rows(plan, [put.key_value for put in puts])
        columns, missing = resolve_parents(plan, puts)
        writes, left, trouble = [], [], Trouble(plan)

        for put, values, absent in zip(puts, columns, missing, strict=True):
            row = existing.get(put.key)
            blocking = untolerated(absent)
            if row is None and not forced and any(not b.planned.field.null for b in blocking):
                left.append(put)
                continue

            # A parent that is not there yet: what the row has, a stand-in, or NULL until then.
            linked = list(values)
            for each in blocking:
                place = each.planned.place
                linked[place] = self._stand_in(each) if row is None else row.values[place]
                if linked[place] is None and not each.planned.field.null:
                    trouble.impossible.add(put.key)
            if absent:
                linking.append(put)
            writes.append(self._row_write(plan, put, tuple(linked), row))

        if trouble.impossible:
            raise _Stuck(trouble)
        self._write(plan, writes, unchecked=forced)
        return left

    def _row_write(
        self, plan: TypePlan, put: Prepared, values: Values, row: ExistingRow | None
    ) -> RowWrite:
        kept = self._kept.get(plan, {}).get(plan.digest(put.key))
        return row_write(put, values, row, kept)

    def _link(self, plan: TypePlan, puts: list[Prepared]) -> None:
        existing = read_rows(plan, [put.key_value for put in puts])
        columns, missing = resolve_parents(plan, puts)
        lacking = {
            put.key for put, absent in zip(puts, missing, strict=True) if untolerated(absent)
        }
        if lacking:  # a database that takes two keys for one
            raise _Stuck(Trouble(plan, impossible=lacking))
        writes = [
            self._row_write(plan, put, values, existing.get(put.key))
            for put, values in zip(puts, columns, strict=True)
        ]
        self._write(plan, writes, unchecked=False)

    def _write(self, plan: TypePlan, writes: list[RowWrite], *, unchecked: bool) -> None:
        if lost := Claims(plan, writes).losers((), ()):
            raise _Stuck(Trouble(plan, lost=lost))

        changed = changing(plan, writes)
        # PostgreSQL and SQLite check Django's foreign keys at the end of the transaction anyway;
        # MySQL does so row by row.
        checks = (
            connections[plan.using].constraint_checks_disabled() if unchecked else nullcontext()
        )
        with checks:
            failures = write_rows(plan, changed, clear_the_way=_make_way)
        if failures:
            raise _Stuck(Trouble(plan, failures=failures))

        for write in changed:
            self._written[plan].setdefault(write.key, write)

    def _stand_in(self, absent: MissingParent) -> Any:
        """A value for the column until the parent is there; the right one where it is known by now.
        None where there is none.
        """
        planned = absent.planned
        if planned.field.null:
            return None
        target: models.Field[Any, Any] = planned.field.target_field  # type: ignore[attr-defined]
        parent = self._values[absent.entity]
        mapping = self._types[absent.entity[0]].mapping
        if target.attname == mapping.key.attname:
            return parent.key_value
        if planned.field.primary_key or isinstance(target, (models.ForeignKey, *UNSIGNED)):
            return None
        place = self._types[absent.entity[0]].places.get(target.attname)
        if place is not None:
            return settle(parent.values)[place]
        if isinstance(target, models.IntegerField):
            return -next(self._numbers)
        return uuid.uuid4() if isinstance(target, models.UUIDField) else None


def _make_way(plan: TypePlan, writes: Sequence[RowWrite]) -> None:
    """Among the rows of the set only: no other one has what they want."""
    make_way(plan, writes, {})
