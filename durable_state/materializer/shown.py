"""The shown rows: where changes go when nothing is being staged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from django.db import models

from durable_state.models import ParkedChange

from .claims import free_moving_values, taken
from .compaction import Entity, fold_entity
from .conversion import Refused
from .letters import Found
from .outcome import Outcome
from .parking import Parking, ParkingLot
from .plan import StreamPlan, TypePlan
from .preparation import Prepared, as_message, from_bytes
from .relations import MissingParent, resolve_parents
from .removal import Removal
from .rows import RowFailure, differs, read_rows, write_rows
from .staging import settle_partial
from .writers import RowWrite

__all__ = ["ShownRows", "not_written"]


FRESH_LISTED = 10_000
"""Entities newly shown in one commit beyond which everything that is parked is looked at, instead of what waits for them."""


class ShownRows:
    """Brings the rows of one stream to what the changes of a batch, or a whole generation, say.

    Used inside the transaction of one commit. After the last change ``settle`` shows what has waited.
    """

    def __init__(self, plans: StreamPlan, lot: ParkingLot, outcome: Outcome) -> None:
        self._plans = plans
        self._lot = lot
        self._outcome = outcome
        self._removal = Removal(plans, lot, outcome)
        self._fresh: set[tuple[TypePlan, str]] | None = set()
        self._leaving: dict[tuple[str, str], int] = {}

    def apply(self, entities: dict[str, list[Entity]]) -> None:
        """Writes the entities of a batch, by type: parents before children, children's deletions before parents'."""
        plans = [plan for plan in self._plans.all() if plan.type in entities]
        self._leaving = {
            (plan.type, entity.key): entity.decided_at
            for plan in plans
            for entity in entities[plan.type]
            if entity.deleted
        }
        first = [plan for plan in plans if plan.unique_sets]
        for plan in reversed(first):
            self._delete(plan, entities[plan.type])
        for plan in plans:
            self._put(plan, entities[plan.type])
        for plan in reversed(plans):
            # Again for the unique ones: a change that the database refused may have left a deletion as the last accepted one.
            self._delete(plan, entities[plan.type])

    def put(self, plan: TypePlan, puts: Sequence[Prepared]) -> tuple[list[RowFailure], set[str]]:
        """Makes rows equal to complete puts; returns what the database refused, and the keys that were parked."""
        existing = read_rows(plan, [put.key_value for put in puts])
        failures: list[RowFailure] = []
        parked: set[str] = set()
        waiting = sorted(puts, key=lambda put: put.ordinal)
        while waiting:
            columns, missing = resolve_parents(plan, waiting)
            ready = [
                i for i, absent in enumerate(missing) if all(self._shown_without(waiting[i], each) for each in absent)
            ]
            if not ready:
                break
            writes = [
                RowWrite(waiting[i].key, waiting[i].key_value, columns[i], existing.get(waiting[i].key)) for i in ready
            ]
            by_key = {waiting[i].key: waiting[i] for i in ready}
            lost = taken(plan, writes)
            if lost:
                # Their rows go, and those may be the parents that were just found: look again.
                self._park(plan, [Parking(plan, by_key[key], "unique", detail) for key, detail in lost.items()])
                parked |= lost.keys()
                waiting = [put for put in waiting if put.key not in lost]
                existing = read_rows(plan, [put.key_value for put in waiting])
                continue
            failed = self._write(plan, writes)
            failures += failed
            written = by_key.keys() - {failure.write.key for failure in failed}
            self._lot.remove(plan.digest(key) for key in written)
            relinks = [(waiting[i], missing[i][0]) for i in ready if missing[i] and waiting[i].key in written]
            self._lot.park([_parking(plan, put, absent, hidden=False) for put, absent in relinks])
            waiting = [put for put in waiting if put.key not in by_key]
            if not plan.refers_to_itself:
                break
        if waiting:
            _, missing = resolve_parents(plan, waiting)
            self._park(plan, [_parking(plan, put, absent[0]) for put, absent in zip(waiting, missing, strict=True)])
            parked |= {put.key for put in waiting}
        return failures, parked

    def remove(self, plan: TypePlan, keys: list[Any]) -> dict[str, str]:
        """Deletes rows by key value; returns those that must stay, with the reason."""
        return self._removal.remove(plan, keys)

    def settle(self) -> list[tuple[TypePlan, Found]]:
        """Shows parked entities whose parents have come or whose unique values are free, until nothing moves any more.

        Returns those that the database refused; they are parked no longer.
        """
        refused: list[tuple[TypePlan, Found]] = []
        candidates = self._lot.unbound() + self._lot.waiting_for(self._fresh_digests())
        while candidates:
            self._fresh, moved = set(), False
            for plan in self._plans.all():
                shown, found = self._release(plan, [parked for parked in candidates if parked.type == plan.type])
                moved |= shown
                refused += [(plan, each) for each in found]
            candidates = self._lot.waiting_for(self._fresh_digests())
            if moved:
                candidates += self._lot.unbound()
        return refused

    def _fresh_digests(self) -> Iterator[str] | None:
        return None if self._fresh is None else (plan.digest(key) for plan, key in self._fresh)

    def _release(self, plan: TypePlan, candidates: list[ParkedChange]) -> tuple[bool, list[Found]]:
        """Tries to show parked entities of one type: whether any was, and what the database refused."""
        puts: dict[str, Prepared] = {}
        before = {parked.key: parked for parked in candidates}
        for parked in candidates:
            try:
                puts[parked.key] = from_bytes(plan, parked.key, parked.ordinal, parked.prepared, parked.body)
            except Refused:
                continue  # the mapping has changed since; the type shows "needs reset"
        _, missing = resolve_parents(plan, list(puts.values()))
        ready, waiting = [], []
        for put, absent in zip(puts.values(), missing, strict=True):
            if not absent:
                ready.append(put)
            elif before[put.key].waits_for != absent[0].digest:
                # Another parent is the one that is missing now.
                waiting.append(_parking(plan, put, absent[0], hidden=before[put.key].hidden))
        self._lot.park(waiting)
        if not ready:
            return False, []
        failures, parked_again = self.put(plan, ready)
        self._lot.remove(plan.digest(failure.write.key) for failure in failures)
        found = [not_written(plan, failure, puts[failure.write.key]) for failure in failures]
        return len(failures) + len(parked_again) < len(ready), found

    def _put(self, plan: TypePlan, entities: list[Entity]) -> None:
        todo = [entity for entity in entities if entity.put is not None]
        while todo:
            self._settle_partials(plan, todo)
            puts = {entity.key: entity for entity in todo if entity.put is not None}
            failures, parked = self.put(plan, [entity.put for entity in puts.values() if entity.put is not None])
            failed = {failure.write.key: failure for failure in failures}
            again = []
            for entity in todo:
                entity.parked = entity.key in parked
                failure = failed.get(entity.key)
                if failure is not None:
                    entity.fault(Refused(failure.reason, str(failure.error)))
                elif not entity.advance():
                    continue
                fold_entity(plan, entity)
                while entity.put is None and entity.advance():
                    fold_entity(plan, entity)
                if entity.put is not None:
                    again.append(entity)
            todo = again

    def _settle_partials(self, plan: TypePlan, entities: list[Entity]) -> None:
        """Completes partial updates by what is parked or shown of their entities."""
        partial = {entity.key: entity for entity in entities if entity.put is not None and not entity.put.complete}
        if not partial:
            return
        parked = self._lot.of(plan.digest(key) for key in partial)
        unparked = {}
        for key, entity in partial.items():
            held = parked.get(plan.digest(key))
            if held is not None and held.hidden:
                settle_partial(plan, entity, bytes(held.prepared))
            else:
                unparked[key] = entity
        existing = read_rows(plan, [entity.put.key_value for entity in unparked.values() if entity.put is not None])
        for key, entity in unparked.items():
            if key not in existing:
                settle_partial(plan, entity, None)
        if plan.relations or plan.unique_sets:
            # Such a change may have to be parked, which takes all that the entity is.
            whole = self._removal.whole(plan, [existing[key].pk for key in unparked if key in existing])
            for key, entity in unparked.items():
                if key in whole:
                    settle_partial(plan, entity, whole[key])

    def _shown_without(self, put: Prepared, absent: MissingParent) -> bool:
        """Whether the row is shown with NULL: its parent was there when the change came, and was deleted later in the same batch."""
        on_delete = absent.planned.field.remote_field.on_delete  # type: ignore[union-attr]
        parent = absent.planned.parent
        left_at = 0 if parent is None or not absent.digest else self._leaving.get((parent.entity_type, absent.key), 0)
        return on_delete is models.SET_NULL and left_at > put.ordinal

    def _write(self, plan: TypePlan, writes: list[RowWrite]) -> list[RowFailure]:
        for write in writes:
            if write.existing is not None:
                write.values = write.existing.values | write.values
        changed = [write for write in writes if differs(plan, write)]
        failures = write_rows(plan, changed, clear_the_way=free_moving_values)
        failed = {failure.write.key for failure in failures}
        for write in changed:
            if write.key not in failed:
                self._outcome.changed(plan.type, write.key, deleted=False)
                if write.existing is None and self._fresh is not None:
                    self._fresh.add((plan, write.key))
                    if len(self._fresh) > FRESH_LISTED:
                        self._fresh = None
        return failures

    def _park(self, plan: TypePlan, parkings: list[Parking]) -> None:
        if not parkings:
            return
        self._removal.remove(plan, [parking.prepared.key_value for parking in parkings])
        self._lot.park(parkings)

    def _delete(self, plan: TypePlan, entities: list[Entity]) -> None:
        todo = {entity.key: entity for entity in entities if entity.deleted}
        while todo:
            values = {key: _key_value(plan, entity) for key, entity in todo.items()}
            refused = self.remove(plan, [value for value in values.values() if value is not None])
            self._lot.remove(plan.digest(key) for key in todo if key not in refused)
            again, kept = {}, []
            for key, reason in refused.items():
                entity = todo[key]
                entity.refuse(entity.decided_at, Refused("protected", reason))
                fold_entity(plan, entity)
                if entity.deleted:
                    again[key] = entity
                elif entity.put is not None:
                    kept.append(entity)
            self._put(plan, kept)
            todo = again


def not_written(plan: TypePlan, failure: RowFailure, put: Prepared) -> Found:
    """The letter of an accepted change that the database refused when its row was written."""
    return Found(put.key, put.ordinal, failure.reason, str(failure.error), as_message(plan, put))


def _parking(plan: TypePlan, put: Prepared, absent: MissingParent, *, hidden: bool = True) -> Parking:
    return Parking(plan, put, "parent", str(absent), absent.digest, hidden)


def _key_value(plan: TypePlan, entity: Entity) -> Any | None:
    try:
        return plan.key_value(entity.key)
    except Refused:
        return None  # no row can have that key
