"""The ordinary entities of one type: what to read, and what to write then."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from msgspec import UNSET

from durable_state.conversion import key_text
from durable_state.databases import Answer, Statement

from ..batch.compaction import EntityChanges
from ..changes import Outcome, is_awaited_elsewhere
from ..compiled import PlannedField
from ..plan import TypePlan, Values
from ..rows.row import ExistingRow, RowWrite
from ..rows.rows import changing, deferred_checks, existing_row, row_write
from .ordinary import is_inserted
from .statements import (
    deleting,
    inserting,
    reading_parents,
    reading_rows,
    updating,
)
from .unusual import Unusual

__all__ = ["DirectEntities"]


class DirectEntities:
    """Writes entities of one type, for the time of one transaction."""

    def __init__(self, plan: TypePlan, entities: Sequence[EntityChanges]) -> None:
        """Raises: MappingFault, if nothing in the application stands for the stream."""
        self.plan = plan
        self.entities = entities
        self._parents = [
            (planned, names, _scope_of_parents(plan, planned))
            for planned in plan.relations
            if (names := self._named(planned))
        ]
        _ = plan.scope  # may be a query, which should not run within the transaction
        self.inserted = [each.key for each in entities if is_inserted(each)]
        self.met_rows = False
        """Whether any of the rows to insert was there."""

    @property
    def are_new(self) -> bool:
        """Whether all their rows are to be inserted, and name no parents."""
        return not self._parents and len(self.inserted) == len(self.entities)

    def reading(self) -> Iterator[Statement]:
        """Statements that read the entities' rows, and the parents that they name.

        Raises: Unusual.
        """
        keys = [
            self.plan.key_value(each.key) if each.put is None else each.put.key_value
            for each in self.entities
        ]
        yield reading_rows(self.plan, keys)
        for planned, names, scope in self._parents:
            yield reading_parents(self.plan, planned, names, scope)

    def writing(self, answers: Iterator[Answer], outcome: Outcome) -> Iterator[Statement]:
        """Statements that write the rows that are not as the changes say, given what was read.

        What becomes of the changes is added to ``outcome``. Raises: Unusual.
        """
        plan, existing = self.plan, self._existing(next(answers))
        parents = {planned: self._found(planned, next(answers)) for planned, _, _ in self._parents}
        self.met_rows = not existing.keys().isdisjoint(self.inserted)
        wanted = [
            self._write(each, parents, existing) for each in self.entities if each.put is not None
        ]

        writes = changing(plan, wanted)
        new = [write for write in writes if write.existing is None]
        updates = [write for write in writes if write.existing is not None]
        leaving = [each.key for each in self.entities if each.deleted and each.key in existing]
        if new and is_awaited_elsewhere(plan):
            raise Unusual  # an update that has to insert its row

        # Deletions first, because they may free unique values.
        if leaving:
            yield deleting(plan, [existing[key] for key in leaving])
        if updates:
            yield from updating(plan, updates)
        if new:
            yield inserting(plan, new)
        if writes:
            yield from deferred_checks(plan)

        no_row = sum(entity.no_row for entity in self.entities)
        outcome.no_row += no_row
        outcome.applied += sum(map(len, self.entities)) - no_row
        outcome.changed(plan.type, [write.key for write in writes], deleted=False)
        outcome.keep_written(plan, list(self._told(writes)))
        outcome.changed(plan.type, leaving, deleted=True)

    def _told(self, writes: Sequence[RowWrite]) -> Iterator[tuple[str, Values]]:
        """The written values, with parents as they are shown, by their entity keys."""
        puts = {each.key: each.put for each in self.entities}
        for write in writes:
            values, put = list(write.values), puts[write.key]
            assert put is not None
            for planned in self.plan.named_parents:
                values[planned.place] = put.values[planned.place]
            yield write.key, tuple(values)

    def _named(self, planned: PlannedField) -> list[Any]:
        """The parents that the entities name in this column."""
        puts = [each.put for each in self.entities if each.put is not None]
        return list({put.values[planned.place] for put in puts} - {None, UNSET})

    def _existing(self, answer: Answer) -> dict[str, ExistingRow]:
        """The rows that were read, by key text."""
        plan, key = self.plan, self.plan.mapping.key
        rows = plan.row_reader.read(plan.database, answer.rows)
        return {key_text(key, row[1]): existing_row(plan, row) for row in rows}

    def _found(self, planned: PlannedField, answer: Answer) -> dict[Any, Any]:
        """The column's value for each parent that was read, by the name on the wire."""
        rows = self.plan.parent_readers[planned].read(self.plan.database, answer.rows)
        if planned.parent is None:
            return dict(rows)
        return {key_text(planned.parent.key, name): value for name, value in rows}

    def _write(
        self,
        entity: EntityChanges,
        parents: dict[PlannedField, dict[Any, Any]],
        existing: dict[str, ExistingRow],
    ) -> RowWrite:
        put, row = entity.put, existing.get(entity.key)
        assert put is not None
        if row is None and not put.complete:
            raise Unusual  # a partial update that has to insert its row
        return row_write(put, _with_parents(put.values, parents), row)


def _scope_of_parents(plan: TypePlan, planned: PlannedField) -> dict[str, Any]:
    if planned.parent is None:
        return {}
    return plan.scope if planned.parent is plan.mapping else planned.parent.scope(plan.stream)


def _with_parents(values: Values, parents: dict[PlannedField, dict[Any, Any]]) -> Values:
    """The values with parents as their columns hold them. Raises: Unusual, if one is missing."""
    if not parents:
        return values
    resolved = list(values)
    for planned, found in parents.items():
        name = values[planned.place]
        if name is None or name is UNSET:
            continue
        if name not in found:
            raise Unusual
        resolved[planned.place] = found[name]
    return tuple(resolved)
