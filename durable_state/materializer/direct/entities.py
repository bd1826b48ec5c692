"""The ordinary entities of one type: what to read, what that tells, what to write."""

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
    """Takes entities of one type to their rows, for the time of one transaction."""

    def __init__(self, plan: TypePlan, entities: Sequence[EntityChanges]) -> None:
        """Raises: MappingFault, where nothing of the application stands for the stream."""
        self.plan = plan
        self.entities = entities
        self._parents = [
            (planned, names, _scope_of_parents(plan, planned))
            for planned in plan.relations
            if (names := self._named(planned))
        ]
        _ = plan.scope  # which may be a query, and is known before the transaction begins

    def reading(self) -> Iterator[Statement]:
        """What reads the entities' rows, and the parents that they name.

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
        """What writes the rows that are not as the changes leave them, given what was read.

        What becomes of the changes is told to ``outcome``. Raises: Unusual.
        """
        plan, existing = self.plan, self._existing(next(answers))
        parents = {planned: self._found(planned, next(answers)) for planned, _, _ in self._parents}
        wanted = [
            self._write(each, parents, existing) for each in self.entities if each.put is not None
        ]

        writes = changing(plan, wanted)
        new = [write for write in writes if write.existing is None]
        updates = [write for write in writes if write.existing is not None]
        leaving = [each.key for each in self.entities if each.deleted and each.key in existing]
        if new and is_awaited_elsewhere(plan):
            raise Unusual  # an update that makes its row

        # What goes makes room for what comes.
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
        """What the writes tell, with parents as they are shown: by their entity keys."""
        puts = {each.key: each.put for each in self.entities}
        for write in writes:
            values, put = list(write.values), puts[write.key]
            assert put is not None
            for planned in self.plan.named_parents:
                values[planned.place] = put.values[planned.place]
            yield write.key, tuple(values)

    def _named(self, planned: PlannedField) -> list[Any]:
        """The parents that the entities name in a column."""
        puts = [each.put for each in self.entities if each.put is not None]
        return list({put.values[planned.place] for put in puts} - {None, UNSET})

    def _existing(self, answer: Answer) -> dict[str, ExistingRow]:
        """The rows that were read, by key text."""
        plan, key = self.plan, self.plan.mapping.key
        rows = plan.row_reader.read(plan.database, answer.rows)
        return {key_text(key, row[1]): existing_row(plan, row) for row in rows}

    def _found(self, planned: PlannedField, answer: Answer) -> dict[Any, Any]:
        """What the column holds for each of the parents that were read, by what names it."""
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
            raise Unusual  # a partial update that has to make the row
        return row_write(put, _with_parents(put.values, parents), row)


def _scope_of_parents(plan: TypePlan, planned: PlannedField) -> dict[str, Any]:
    if planned.parent is None:
        return {}
    return plan.scope if planned.parent is plan.mapping else planned.parent.scope(plan.stream)


def _with_parents(values: Values, parents: dict[PlannedField, dict[Any, Any]]) -> Values:
    """The values with parents as what the columns hold. Raises: Unusual, where one is missing."""
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
