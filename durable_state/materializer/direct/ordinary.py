"""Finds whether changes are ordinary: accepted, few, and of types that can go without the fold."""

from __future__ import annotations

from durable_state.protocol import Operation

from ..batch.compaction import EntityChanges
from ..batch.prepared_batch import PreparedBatch
from ..changes import is_awaited_elsewhere
from ..plan import TypePlan

__all__ = ["find_ordinary", "is_inserted"]

FEW = 50
"""Most entities of one batch; more are better written in bulk."""


def find_ordinary(batch: PreparedBatch) -> list[tuple[TypePlan, list[EntityChanges]]] | None:
    """All that the batch changes, by type; None if any of it is not ordinary."""
    segment = batch.segments[0]
    if len(batch.segments) > 1 or segment.control or segment.faults or batch.malformed:
        return None
    if sum(map(len, segment.entities.values())) > FEW:
        return None
    plans, database = batch.plans, batch.plans.database
    if not database.writes_columns:
        return None

    found = []
    for entity_type, entities in segment.entities.items():
        plan = plans.compiled(entity_type)
        if plan is None or not plan.may_go_direct or not all(map(_is_accepted, entities)):
            return None
        if not plan.is_childless and any(entity.deleted for entity in entities):
            return None
        if not database.has_unique_constraints(plan.mapping.model):
            return None  # the fold compares the values itself
        if any(map(is_inserted, entities)) and is_awaited_elsewhere(plan):
            return None  # the fold tells the streams that wait
        found.append((plan, entities))
    return found


def is_inserted(entity: EntityChanges) -> bool:
    """Whether its row is most likely new."""
    return entity.put is not None and entity.newest.operation is Operation.INSERT


def _is_accepted(entity: EntityChanges) -> bool:
    """Whether all its changes were accepted, so that no letter has to be written."""
    return entity.refused is None and (entity.put is not None or entity.deleted)
