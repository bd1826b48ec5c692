"""The shown rows: where changes go when nothing is being staged."""

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
    """Brings the rows of one stream to what the changes of a batch, or a whole generation, say.

    Used inside the transaction of one commit. After the last change ``settle`` shows what has
    waited.
    """

    def __init__(self, plans: StreamPlan, lot: ParkingLot, outcome: Outcome) -> None:
        self._plans = plans
        self._lot = lot
        self._space = Workspace(plans, lot, Openings(plans), outcome)
        self._removal = Removal(self._space)
        self._placement = Placement(self._space, self._removal)
        self._refused: list[Letter] = []

    def apply(self, entities: dict[str, list[EntityChanges]]) -> None:
        """Writes the entities of a batch, by type: parents before children, children's deletions
        before parents'.

        What waits for a row of the batch is shown before anything is deleted, so that nothing goes
        with a parent that it has left. A row that is to be deleted is nobody's parent any more, and
        its unique values may be had.
        """
        groups = circles(self._plans.all(entities))
        plans = [plan for group in groups for plan in group]
        leaving = {
            plan.type: {entity.key for entity in entities[plan.type] if entity.deleted}
            for plan in plans
        }

        # What was parked of them is void; it must not be shown for a moment.
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
        """Makes rows equal to complete puts, of which ``all_new`` says that none has a row yet.

        Returns what the database refused, and the keys that were parked.
        """
        placed = self._placement.put({plan: puts}, all_new=all_new)
        return placed.failures[plan], placed.parked[plan]

    def remove(self, plan: TypePlan, keys: Iterable[Any]) -> dict[str, str]:
        """Deletes rows by key value; returns those that must stay, with the reason."""
        refused = self._removal.remove(plan, keys)
        # What was told that such a row is going can be linked to it.
        self._space.openings.add_parents(plan, refused)
        return refused

    def release(self) -> None:
        """Shows what has waited for rows that are there by now, before others go."""
        self._release(every=False)

    def settle(self, *, every: bool = False) -> list[Letter]:
        """Shows what has waited and can be shown, and tells other streams of their parents'
        arrival.

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

            # Where it was refused, the one before it counts; where it was settled up to a limit
            # only, the next one.
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
        """Completes partial updates by what is parked or shown of their entities."""
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

        # Where there is a row, the columns that the change leaves out just stay.
        existing = read_rows(
            plan, [entity.put.key_value for entity in unparked.values() if entity.put is not None]
        )
        for key, entity in unparked.items():
            if key not in existing:
                settle_partial(plan, entity, None)

        # A change that may have to be parked takes all that the entity is.
        if plan.relations or plan.unique_sets:
            pks = [existing[key].pk for key in unparked if key in existing]
            whole = whole_entities(self._lot, plan, pks)
            for key, entity in unparked.items():
                if key in whole:
                    settle_partial(plan, entity, whole[key])

    def _keep_what_is_parked(self, plan: TypePlan, entities: list[EntityChanges]) -> None:
        """Gives puts what a parked change has said where they would have a default made once."""
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
            # Nothing is parked any more of what is deleted.
            values = {key: _key_value(plan, entity) for key, entity in todo.items()}
            refused = self.remove(plan, [value for value in values.values() if value is not None])
            self._lot.remove(plan.digest(key) for key in todo if key not in refused)

            # Of a protected row, the change before the delete counts, which may be another delete.
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
