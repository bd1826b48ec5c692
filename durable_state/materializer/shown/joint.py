"""Shows rows that can only be shown together, because each points to another of them.

They are inserted with stand-ins for the parents that are not there yet (NULL where the column may
be NULL), and linked once all of them exist.

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
from ..rows.claims import Claims, Lost, free_wanted_values
from ..rows.relations import MissingParent, blocking_parents, resolve_parents
from ..rows.row import ExistingRow, RowWrite
from ..rows.rows import RowFailure, changing, read_rows, row_write, write_rows

__all__ = [
    "LEVELS",
    "Group",
    "Trouble",
    "ancestors",
    "closed_part",
    "settle_blockers",
    "show_jointly",
]

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
    """Why rows of a type cannot be shown with the others: they are refused, their unique value is
    taken, or there is no stand-in for a parent.
    """

    plan: TypePlan
    failures: list[RowFailure] = field(default_factory=list)
    lost: dict[str, Lost] = field(default_factory=dict)
    impossible: set[str] = field(default_factory=set)


class _CannotShow(Exception):
    def __init__(self, trouble: Trouble) -> None:
        self.trouble = trouble


def settle_blockers(
    missing: Mapping[EntityName, Sequence[MissingParent]],
) -> dict[EntityName, MissingParent]:
    """The entities that could not be shown even if all others were, each with the parent that it
    has to wait for.

    All others form the greatest closed set: each of them misses only parents in the set. No two
    entities are made to wait for each other.
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
    """The largest set of puts whose missing parents are all in the set."""
    missing: dict[EntityName, Sequence[MissingParent]] = {}
    for plan, some in puts.items():
        _, absent = resolve_parents(plan, some)
        missing |= {
            (plan.type, put.key): blocking_parents(each)
            for put, each in zip(some, absent, strict=True)
        }
    blocked = settle_blockers(missing)
    parts = {
        plan: [put for put in some if (plan.type, put.key) not in blocked]
        for plan, some in puts.items()
    }
    return {plan: some for plan, some in parts.items() if some}


def ancestors(closed: Group, plan: TypePlan, key: str) -> set[EntityName]:
    """The entities of a closed set that one of them waits for, directly or through others."""
    puts = {(plan.type, put.key): (plan, put) for plan, some in closed.items() for put in some}
    found: set[EntityName] = set()
    todo: list[EntityName] = [(plan.type, key)]
    while todo:
        of_plan, put = puts[todo.pop()]
        _, missing = resolve_parents(of_plan, [put])
        parents = {each.entity for each in blocking_parents(missing[0])} - found
        found |= parents
        todo += parents
    return found


def show_jointly(
    closed: Group, kept: Mapping[TypePlan, Mapping[str, bytes]]
) -> dict[TypePlan, list[RowWrite]] | Trouble:
    """Writes a closed set as a whole, or nothing of it; then returns the trouble of one type.

    ``kept`` is what was kept of the entities' former rows, by digest.
    """
    try:
        with transaction.atomic(using=next(iter(closed)).using):
            return _JointWriting(closed, kept).show()
    except _CannotShow as stuck:
        return stuck.trouble


class _JointWriting:
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
        # Level by level, those whose parents are there come first. Where a level writes nothing,
        # only stand-ins for the parents help.
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

        # All rows exist now: stand-ins and NULLs are replaced by the parents.
        for plan, puts in linking.items():
            self._link(plan, puts)
        return {plan: list(writes.values()) for plan, writes in self._written.items()}

    def _insert(
        self, plan: TypePlan, puts: list[Prepared], linking: list[Prepared], *, forced: bool
    ) -> list[Prepared]:
        """Writes the puts that miss no required parent, or with ``forced`` all of them; returns
        those that are left.
        """
        if not puts:
            return []
        existing = read_rows(plan, [put.key_value for put in puts])
        columns, missing = resolve_parents(plan, puts)
        writes, left, trouble = [], [], Trouble(plan)

        for put, values, absent in zip(puts, columns, missing, strict=True):
            row = existing.get(put.key)
            blocking = blocking_parents(absent)
            if row is None and not forced and any(not b.planned.field.null for b in blocking):
                left.append(put)
                continue

            # In place of a parent that is not there yet: what the row has, a stand-in, or NULL.
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
            raise _CannotShow(trouble)
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
            put.key for put, absent in zip(puts, missing, strict=True) if blocking_parents(absent)
        }
        if lacking:  # a database that takes two keys for one
            raise _CannotShow(Trouble(plan, impossible=lacking))
        writes = [
            self._row_write(plan, put, values, existing.get(put.key))
            for put, values in zip(puts, columns, strict=True)
        ]
        self._write(plan, writes, unchecked=False)

    def _write(self, plan: TypePlan, writes: list[RowWrite], *, unchecked: bool) -> None:
        if lost := Claims(plan, writes).losers((), ()):
            raise _CannotShow(Trouble(plan, lost=lost))

        changed = changing(plan, writes)
        # PostgreSQL and SQLite check Django's foreign keys at the end of the transaction anyway;
        # MySQL does so row by row.
        checks = (
            connections[plan.using].constraint_checks_disabled() if unchecked else nullcontext()
        )
        with checks:
            failures = write_rows(plan, changed, free_values=_free_wanted_values)
        if failures:
            raise _CannotShow(Trouble(plan, failures=failures))

        for write in changed:
            self._written[plan].setdefault(write.key, write)

    def _stand_in(self, absent: MissingParent) -> Any:
        """A value for the column until the parent exists: the final one where it is known already;
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


def _free_wanted_values(plan: TypePlan, writes: Sequence[RowWrite]) -> None:
    """Frees values among the rows of the set; no other row holds what they want."""
    free_wanted_values(plan, writes, {})
