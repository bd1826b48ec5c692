"""The shown rows: where changes go while nothing is being staged."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from durable_state.conversion import Refused

from ..batch.compaction import EntityChanges, fold_entity, settle_partial
from ..batch.defaults import has_fresh
from ..batch.preparation import Prepared
from ..changes import Openings, Outcome
from ..letters import Letter
from ..parked.arrivals import exchange_arrivals
from ..parked.lot import ParkingLot
from ..parked.whole import whole_entities
from ..plan import StreamPlan, TypePlan
from ..prospects import nobody
from ..rows.relations import circles
from ..rows.rows import RowFailure, read_rows
from .placement import Placement
from .release import Release
from .removal import Removal
from .workspace import Workspace

__all__ = ["ShownRows"]


class ShownRows:
    """Makes the rows of one stream equal to what a batch of changes, or a whole generation, says.

    Used inside the transaction of one commit. After the last change, ``settle`` shows the parked
    changes that can be shown now.
    """

    def __init__(self, plans: StreamPlan, lot: ParkingLot, outcome: Outcome) -> None:
        self._plans = plans
        self._lot = lot
        self._space = Workspace(plans, lot, Openings(plans), outcome)
        self._removal = Removal(self._space)
        self._placement = Placement(self._space, self._removal)
        self._refused: list[Letter] = []

    def apply(self, entities: dict[str, list[EntityChanges]]) -> None:
        """Writes the entities of a batch, by type: parents before children, then deletions of
        children before those of parents.

        Parked changes that wait for a row of the batch are shown before anything is deleted, so
        that no row is deleted with a parent that it no longer has. A row that is to be deleted
        counts as nobody's parent any more, and its unique values may be taken.
        """
        groups = circles(self._plans.all(entities))
        plans = [plan for group in groups for plan in group]
        leaving = {
            plan.type: {entity.key for entity in entities[plan.type] if entity.deleted}
            for plan in plans
        }

        # What was parked of deleted entities is void, and must not be shown even for a moment.
        for plan in plans:
            self._lot.remove(plan.digest(key) for key in leaving[plan.type])
        self._plans.prospects.leaving = lambda of_type, keys: (
            leaving.get(of_type, set()) & set(keys)
        )
        for group in groups:
            self._put({plan: entities[plan.type] for plan in group})
        if any(leaving.values()):
            self._release(every=False)
        self._plans.prospects.leaving = nobody
        for plan in reversed(plans):
            self._delete(plan, entities[plan.type])

    def put(
        self, plan: TypePlan, puts: Sequence[Prepared], *, all_new: bool = False
    ) -> tuple[list[RowFailure], set[str]]:
        """Makes rows equal to complete puts; ``all_new`` promises that none has a row yet.

        Returns what the database refused, and the keys that were parked.
        """
        placed = self._placement.put({plan: puts}, all_new=all_new)
        return placed.failures[plan], placed.parked[plan]

    def remove(self, plan: TypePlan, keys: Iterable[Any]) -> dict[str, str]:
        """Deletes rows by key value; returns the keys of those that have to stay, and why."""
        refused = self._removal.remove(plan, keys)
        # Changes that counted such a row as deleted can be linked to it after all.
        self._space.openings.add_parents(plan, refused)
        return refused

    def release(self) -> None:
        """Shows changes that have waited for rows shown by now, before other rows are deleted."""
        self._release(every=False)

    def settle(self, *, every: bool = False) -> list[Letter]:
        """Shows parked changes that can be shown, and tells other streams about parents they await.

        Returns what the database refused; see ``Release.settle``.
        """
        self._release(every=every)
        exchange_arrivals(self._lot, self._space.openings)
        refused, self._refused = self._refused, []
        return refused

    def _release(self, *, every: bool) -> None:
        self._refused += Release(self._space, self._placement).settle(every=every)

    def _put(self, entities: dict[TypePlan, list[EntityChanges]]) -> None:
        todo = {
            plan: [each for each in some if each.put is not None] for plan, some in entities.items()
        }
        while any(todo.values()):
            # The newest accepted change of each entity goes to its row.
            for plan, some in todo.items():
                self._settle_partials(plan, some)
            puts = {
                plan: [each.put for each in some if each.put is not None]
                for plan, some in todo.items()
            }
            placed = self._placement.put(puts)

            # Where a change was refused, the one before it counts; where the entity was only folded
            # up to a limit, the next one does.
            for plan, some in todo.items():
                failed = {failure.write.key: failure for failure in placed.failures[plan]}
                parked = placed.parked[plan]
                again = []
                unsettled = (
                    some
                    if failed or parked
                    else [e for e in some if e.parked or e.limit is not None]
                )
                for entity in unsettled:
                    entity.parked = entity.key in parked
                    failure = failed.get(entity.key)
                    if failure is not None:
                        entity.fault(Refused(failure.reason, failure.detail))
                    elif not entity.advance():
                        continue
                    fold_entity(plan, entity)
                    while entity.put is None and entity.advance():
                        fold_entity(plan, entity)
                    if entity.put is not None:
                        again.append(entity)
                todo[plan] = again

    def _settle_partials(self, plan: TypePlan, entities: list[EntityChanges]) -> None:
        """Completes partial updates with what is parked or shown of their entities."""
        self._keep_what_is_parked(plan, entities)
        partial = {
            entity.key: entity
            for entity in entities
            if entity.put is not None and not entity.put.complete
        }
        if not partial:
            return

        # A parked change is newer than the row.
        parked = self._lot.find(plan.digest(key) for key in partial)
        unparked = {}
        for key, entity in partial.items():
            held = parked.get(plan.digest(key))
            if held is not None and not held.is_link:
                settle_partial(plan, entity, bytes(held.prepared))
            else:
                unparked[key] = entity

        # If there is a row, the columns that the change leaves out stay as they are.
        existing = read_rows(
            plan, [entity.put.key_value for entity in unparked.values() if entity.put is not None]
        )
        for key, entity in unparked.items():
            if key not in existing:
                settle_partial(plan, entity, None)

        # A change that may have to be parked needs all values of its entity.
        if plan.relations or plan.unique_sets:
            pks = [existing[key].pk for key in unparked if key in existing]
            whole = whole_entities(self._lot, plan, pks)
            for key, entity in unparked.items():
                if key in whole:
                    settle_partial(plan, entity, whole[key])

    def _keep_what_is_parked(self, plan: TypePlan, entities: list[EntityChanges]) -> None:
        """Gives puts the values of a parked change in place of defaults that are made only once."""
        if not self._lot.occupied:
            return
        fresh = {
            plan.digest(entity.key): entity
            for entity in entities
            if entity.put is not None and entity.put.complete and has_fresh(entity.put.values)
        }
        for digest, held in self._lot.find(fresh).items():
            settle_partial(plan, fresh[digest], bytes(held.prepared))

    def _delete(self, plan: TypePlan, entities: list[EntityChanges]) -> None:
        todo = {entity.key: entity for entity in entities if entity.deleted}
        while todo:
            # What is deleted is not parked any more.
            values = {key: _key_value(plan, entity) for key, entity in todo.items()}
            refused = self.remove(plan, [value for value in values.values() if value is not None])
            self._lot.remove(plan.digest(key) for key in todo if key not in refused)

            # For a protected row, the change before the delete counts; it may be another delete.
            again, kept = {}, []
            for key, reason in refused.items():
                entity = todo[key]
                entity.refuse(entity.decided_at, Refused("protected", reason))
                fold_entity(plan, entity)
                if entity.deleted:
                    again[key] = entity
                elif entity.put is not None:
                    kept.append(entity)
            self._put({plan: kept})
            todo = again


def _key_value(plan: TypePlan, entity: EntityChanges) -> Any | None:
    try:
        return plan.key_value(entity.key)
    except Refused:
        return None  # no row can have that key
