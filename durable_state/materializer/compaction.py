"""Folding the changes of a batch to one per entity.

Newest first, and no further back than the last accepted complete change: cost follows entities, not events. The result is what applying
the changes one by one gives.
"""

from __future__ import annotations

import msgspec

from durable_state.protocol import Change, Operation

from .conversion import Refused
from .plan import TypePlan
from .preparation import Prepared, complete, prepare

__all__ = ["Entity", "Letter", "fold_entity"]


class Letter(msgspec.Struct, gc=False):
    """A change that was refused, and why."""

    ordinal: int
    change: Change
    refusal: Refused


class Entity(msgspec.Struct, gc=False):
    """One entity in one batch: its changes by ordinal, in their order.

    After folding, ``put`` is what its row shall be, or ``deleted`` says that it shall have none; neither means that every change was
    refused and the row stays; ``decided_at`` is the ordinal of the deletion. ``letter`` is the newest refused change that no accepted one follows. ``refused`` holds the refusal of
    each change that was looked at, by ordinal; the database adds its own there, and then the entity is folded again without.
    """

    key: str
    changes: dict[int, Change]
    refused: dict[int, Refused] = {}
    put: Prepared | None = None
    deleted: bool = False
    decided_at: int = 0
    absent: bool = False
    no_row: bool = False
    parked: bool = False
    letter: Letter | None = None

    def refuse(self, ordinal: int, refusal: Refused) -> Refused:
        """Takes a refusal down, bare: its traceback holds frames, those hold this entity, and it is no garbage collector's."""
        refusal.__traceback__ = refusal.__cause__ = refusal.__context__ = None
        self.refused[ordinal] = refusal
        return refusal

    @property
    def accepted(self) -> bool:
        """Whether any change of the batch decides what the row is."""
        return self.put is not None or self.deleted


def fold_entity(plan: TypePlan, entity: Entity) -> None:
    """Sets what the entity's changes come to. Raises: MappingFault."""
    while not _try_fold(plan, entity):
        pass


def _try_fold(plan: TypePlan, entity: Entity) -> bool:
    entity.put, entity.deleted, entity.no_row, entity.letter = None, False, False, None
    partials: list[Prepared] = []
    base: Prepared | None = None
    for ordinal, change in reversed(entity.changes.items()):
        refusal = entity.refused.get(ordinal)
        prepared = None
        if refusal is None:
            if change.operation is Operation.DELETE:
                entity.deleted, entity.decided_at = True, ordinal
                break
            try:
                prepared = prepare(plan, change, ordinal)
            except Refused as refused:
                refusal = entity.refuse(ordinal, refused)
        if refusal is not None:
            if entity.letter is None and not partials:
                entity.letter = Letter(ordinal, change, refusal)
        elif prepared is None:
            entity.deleted = entity.no_row = True
            entity.decided_at = ordinal
            break
        elif prepared.complete:
            base = prepared
            break
        else:
            partials.append(prepared)
    if partials:
        return _merge(plan, entity, base, partials)
    entity.put = base
    return True


def _merge(plan: TypePlan, entity: Entity, base: Prepared | None, partials: list[Prepared]) -> bool:
    """Lays the partial updates (newest first) over the base; False where they cannot make a row and the newest was refused for it."""
    newest = partials[0]
    if base is None and (entity.deleted or entity.absent):
        first = partials[-1]  # the one that has to make the row
        alone = Prepared(
            first.key, first.key_value, first.ordinal, dict(first.raw), dict(first.values), False, first.body
        )
        try:
            complete(plan, alone)
        except Refused as refused:
            entity.refuse(first.ordinal, refused)
            return False
    merged = Prepared(newest.key, newest.key_value, newest.ordinal, {}, {}, False, newest.body)
    for part in [*([base] if base else []), *reversed(partials)]:
        merged.raw |= part.raw
        merged.values |= part.values
    if base is not None or entity.deleted or entity.absent:
        try:
            complete(plan, merged)
        except Refused as refused:
            entity.refuse(newest.ordinal, refused)
            return False
    entity.put, entity.deleted = merged, False
    return True
