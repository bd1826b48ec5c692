"""Folds the changes of a batch to one per entity.

Goes from the newest change back to the last accepted complete one, so that the cost follows the
number of entities, not of events. The result is what applying the changes one by one gives.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy

import msgspec

from durable_state.conversion import Refused
from durable_state.protocol import Change, Operation

from ..plan import TypePlan
from .defaults import has_fresh, overlay, overlay_raw, settle
from .plain import prepare_together
from .preparation import Prepared, complete, from_bytes, prepare

__all__ = ["EntityChanges", "RefusedChange", "fold_entities", "fold_entity", "settle_partial"]


class RefusedChange(msgspec.Struct, gc=False):
    """A change that was refused, and why."""

    ordinal: int
    change: Change
    refusal: Refused


class EntityChanges(msgspec.Struct, gc=False):
    """The changes of one entity in one batch, and after folding, their result.

    If there is no ``put`` and it is not ``deleted``, every change was refused, and the row stays.
    """

    key: str
    newest_at: int
    """The ordinal of ``newest``."""
    newest: Change
    older: dict[int, Change] | None = None
    """The changes before it by ordinal, in their order, if there are any."""
    refused: dict[int, Refused] | None = None
    """The refusals of changes, by ordinal. When the database refuses one, it is added, and the
    entity is folded again without it.
    """
    put: Prepared | None = None
    """What the row is to be."""
    deleted: bool = False
    """Whether there is to be no row."""
    decided_at: int = 0
    """The ordinal of the deletion."""
    absent: bool = False
    """Whether there is nothing that a partial update could be applied to."""
    no_row: bool = False
    """Whether it is deleted because ``prepare`` returned None."""
    parked: bool = False
    letter: RefusedChange | None = None
    """The newest refused change, if no accepted one follows it."""
    parts: tuple[int, ...] = ()
    """The ordinals of the changes that a merged ``put`` is made of, oldest first."""
    limit: int | None = None
    """The ordinal up to which changes count: after the database has refused a merged ``put``, its
    changes are tried one after the other."""
    written: int = 0
    """The ordinal up to which these were written."""

    def add(self, ordinal: int, change: Change) -> None:
        """Takes the entity's next change."""
        if self.older is None:
            self.older = {}
        self.older[self.newest_at] = self.newest
        self.newest_at, self.newest = ordinal, change

    def newest_first(self) -> Iterator[tuple[int, Change]]:
        """All changes with their ordinals."""
        yield self.newest_at, self.newest
        if self.older is not None:
            yield from reversed(self.older.items())

    def __len__(self) -> int:
        return 1 if self.older is None else 1 + len(self.older)

    def refuse(self, ordinal: int, refusal: Refused) -> Refused:
        """Notes a refusal, without its traceback.

        A traceback would hold this entity through its frames, in a cycle that is never collected.
        """
        refusal.__traceback__ = refusal.__cause__ = refusal.__context__ = None
        if self.refused is None:
            self.refused = {}
        self.refused[ordinal] = refusal
        return refusal

    def fault(self, refusal: Refused) -> None:
        """Notes that the database has refused ``put``, and refuses the change at fault.

        If several were merged, it has to be found first, by trying them one by one.
        """
        assert self.put is not None
        unwritten = [ordinal for ordinal in self.parts if ordinal > self.written]
        if len(unwritten) > 1:
            self.limit = unwritten[0]
        else:
            self.refuse(unwritten[0] if unwritten else self.put.ordinal, refusal)

    def advance(self) -> bool:
        """Has the next change count, after those up to ``limit`` were written or refused.

        Returns False if no limit was set, or no change is left.
        """
        if self.limit is None:
            return False
        self.written = self.limit
        self.limit = min(
            (ordinal for ordinal, _ in self.newest_first() if ordinal > self.written), default=None
        )
        return self.limit is not None

    @property
    def accepted(self) -> bool:
        """Whether any change of the batch was accepted."""
        return self.put is not None or self.deleted


def fold_entities(plan: TypePlan, entities: Sequence[EntityChanges]) -> None:
    """Folds the changes of each entity; gives what ``fold_entity`` gives for each alone.

    Raises: MappingFault.
    """
    merges, delete, update = plan.mapping.merges, Operation.DELETE, Operation.UPDATE
    whole: list[EntityChanges] = []
    for entity in entities:
        newest = entity.newest
        if (
            newest.operation is delete
            or newest.value is None
            or entity.refused is not None
            or (merges and newest.operation is update)
        ):
            fold_entity(plan, entity)
        else:
            whole.append(entity)
    ordinals, changes = [entity.newest_at for entity in whole], [entity.newest for entity in whole]
    for entity, prepared in zip(whole, prepare_together(plan, ordinals, changes), strict=True):
        if prepared is None or (entity.older is not None and has_fresh(prepared.values)):
            fold_entity(plan, entity)
        else:
            entity.put = prepared


def fold_entity(plan: TypePlan, entity: EntityChanges) -> None:
    """Folds the entity's changes. Raises: MappingFault."""
    while not _try_fold(plan, entity):
        pass


def _try_fold(plan: TypePlan, entity: EntityChanges) -> bool:
    entity.put, entity.deleted, entity.no_row, entity.letter, entity.parts = (
        None,
        False,
        False,
        None,
        (),
    )
    partials: list[Prepared] = []
    base: Prepared | None = None

    # Newest first, back to the last change that is complete.
    for ordinal, change in entity.newest_first():
        if entity.limit is not None and ordinal > entity.limit:
            continue

        refusal = None if entity.refused is None else entity.refused.get(ordinal)
        prepared = None
        if refusal is None:
            try:
                if change.operation is Operation.DELETE:
                    plan.key_value(entity.key)  # or a row that the key does not name would stay
                    entity.deleted, entity.decided_at = True, ordinal
                    break
                prepared = prepare(plan, change, ordinal)
            except Refused as refused:
                refusal = entity.refuse(ordinal, refused)

        if refusal is not None:
            if entity.letter is None and not partials:
                entity.letter = RefusedChange(ordinal, change, refusal)
        elif prepared is None:
            entity.deleted = entity.no_row = True
            entity.decided_at = ordinal
            break
        elif prepared.complete and (entity.older is None or not has_fresh(prepared.values)):
            base = prepared
            break
        else:
            partials.append(prepared)

    if partials:
        return _merge(plan, entity, base, partials)
    entity.put = base
    return True


def _merge(
    plan: TypePlan, entity: EntityChanges, base: Prepared | None, partials: list[Prepared]
) -> bool:
    """Applies the partial updates (newest first) to the base.

    Returns False if they cannot make a row, so that one was refused.
    """
    newest = partials[0]

    # If there is no row to apply them to, the first has to make it.
    if base is None and (entity.deleted or entity.absent):
        first = partials[-1]
        try:
            complete(plan, copy(first))
        except Refused as refused:
            entity.refuse(first.ordinal, refused)
            return False

    parts = [*([base] if base else []), *reversed(partials)]
    raw, values = parts[0].raw, parts[0].values
    for part in parts[1:]:
        raw = overlay_raw(raw, part.raw, part.values)
        values = overlay(values, part.values)
    merged = Prepared(
        newest.key,
        newest.key_value,
        newest.ordinal,
        raw,
        settle(values) if entity.deleted else values,
        any(part.complete for part in parts),
        newest.body,
    )

    # Now it holds all values of the entity; otherwise the row, or a parked change, has the others.
    if base is not None or entity.deleted or entity.absent:
        try:
            complete(plan, merged)
        except Refused as refused:
            entity.refuse(newest.ordinal, refused)
            return False

    entity.put, entity.deleted = merged, False
    entity.parts = tuple(part.ordinal for part in parts)
    return True


def settle_partial(plan: TypePlan, entity: EntityChanges, held: bytes | None) -> None:
    """Completes a partial put with what is ``held`` of the entity; None stands for a new row.

    Refuses changes that cannot make a row until one can.

    A complete put takes values from ``held`` in place of defaults that are made only once.
    """
    if entity.put is not None and entity.put.complete:
        if held is not None:
            _keep(plan, entity.put, held)
        return
    if held is None:
        entity.absent = True
        fold_entity(plan, entity)
    while (put := entity.put) is not None and not put.complete:
        try:
            if held is not None:
                base = from_bytes(plan, entity.key, put.ordinal, held, put.body)
                put.raw, put.values = overlay(base.raw, put.raw), overlay(base.values, put.values)
            complete(plan, put)
        except Refused as refused:
            entity.refuse(put.ordinal, refused)
            fold_entity(plan, entity)


def _keep(plan: TypePlan, put: Prepared, held: bytes) -> None:
    try:
        base = from_bytes(plan, put.key, put.ordinal, held, put.body)
    except Refused:
        return  # the mapping has changed since
    put.raw = overlay_raw(base.raw, put.raw, put.values)
    put.values = overlay(base.values, put.values)
