"""States that are being read and not shown yet: entities of a generation in our own tables."""

from __future__ import annotations

from collections.abc import Iterator

from durable_state.conf import get_settings
from durable_state.models import Generation, StagedChange

from .compaction import Entity, fold_entity
from .conversion import Refused
from .plan import TypePlan
from .preparation import Prepared, complete, from_bytes, to_bytes
from .rows import chunks

__all__ = ["merge_staged", "read_staged", "stage", "staged_keys"]


def stage(generation: Generation, plan: TypePlan, entities: list[Entity]) -> None:
    """Writes what the batch made of the entities into the generation, which is complete up to here and shown nowhere."""
    merge_staged(generation, plan, entities)
    accepted = [entity for entity in entities if entity.accepted]
    staged = generation.staged.using(plan.using)
    for chunk in chunks(plan.digest(entity.key) for entity in accepted):
        staged.filter(entity__in=chunk).delete()
    rows = (
        StagedChange(
            generation=generation,
            type=plan.type,
            entity=plan.digest(entity.key),
            key=entity.key,
            ordinal=entity.put.ordinal,
            body=entity.put.body,
            prepared=to_bytes(entity.put),
        )
        for entity in accepted
        if entity.put is not None
    )
    for rows_chunk in chunks(rows):
        staged.bulk_create(rows_chunk)


def merge_staged(generation: Generation, plan: TypePlan, entities: list[Entity]) -> None:
    """Lays partial updates over what is staged of their entities."""
    partial = {plan.digest(e.key): e for e in entities if e.put is not None and not e.put.complete}
    for chunk in chunks(partial):
        found = {row.entity: row for row in generation.staged.using(plan.using).filter(entity__in=chunk)}
        for digest in chunk:
            row = found.get(digest)
            settle_partial(plan, partial[digest], None if row is None else bytes(row.prepared))


def settle_partial(plan: TypePlan, entity: Entity, held: bytes | None) -> None:
    """Makes a partial put complete: over ``held``, or as a new row; refusing what cannot be one, until something can."""
    if held is None:
        entity.absent = True
        fold_entity(plan, entity)
    while (put := entity.put) is not None and not put.complete:
        try:
            if held is not None:
                base = from_bytes(plan, entity.key, put.ordinal, held, put.body)
                put.raw, put.values = base.raw | put.raw, base.values | put.values
            complete(plan, put)
        except Refused as refused:
            entity.refuse(put.ordinal, refused)
            fold_entity(plan, entity)


def read_staged(
    generation: Generation, plan: TypePlan, size: int
) -> Iterator[tuple[list[Prepared], list[tuple[StagedChange, Refused]]]]:
    """The staged entities of one type in chunks, oldest first, converted anew; and those that the mapping, changed since, refuses.

    A chunk has at most ``size`` entities, and about BATCH_BYTES.
    """
    last = 0
    while True:
        rows = generation.staged.using(plan.using).filter(type=plan.type, id__gt=last).order_by("id")[:size]
        puts: list[Prepared] = []
        refused: list[tuple[StagedChange, Refused]] = []
        room = get_settings().batch_bytes
        for row in rows.iterator(chunk_size=50):
            last, room = row.pk, room - len(row.prepared)
            try:
                puts.append(from_bytes(plan, row.key, row.ordinal, row.prepared, row.body))
            except Refused as refusal:
                refused.append((row, refusal))
            if room <= 0:
                break
        if not puts and not refused:
            return
        yield puts, refused


def staged_keys(generation: Generation, plan: TypePlan, keys: list[str]) -> set[str]:
    """Which of the keys are staged."""
    digests = {plan.digest(key): key for key in keys}
    found: set[str] = set()
    for chunk in chunks(digests):
        rows = generation.staged.using(plan.using).filter(entity__in=chunk)
        found.update(digests[entity] for entity in rows.values_list("entity", flat=True))
    return found
