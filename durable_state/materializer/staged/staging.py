"""Stages states that are not shown yet: the entities of a generation, in a table of our own.

Why: decisions 4, 23 and 38.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from django.db import IntegrityError, connections, models, transaction
from django.db.models import Max, Sum
from django.db.models.functions import Length

from durable_state.conf import get_settings
from durable_state.conversion import Refused
from durable_state.databases import Columns, find_database
from durable_state.models import Generation, StagedChange, entity_digests

from ..batch.compaction import EntityChanges, settle_partial
from ..batch.defaults import has_fresh
from ..batch.plain import unpack_together
from ..batch.preparation import Prepared, from_bytes, to_bytes
from ..letters import Letter
from ..plan import TypePlan
from ..rows.rows import READ, chunks
from .generations import delete_rows
from .older import Older, earlier_in_batch, pack_older, revive, unpack_older

__all__ = [
    "copy_staged",
    "keys_of",
    "read_older",
    "read_staged",
    "stage",
    "staged_entity",
    "staged_keys",
    "staged_later",
]


SIZE = Length("body") + Length("prepared") + Length("older")
"""Roughly the bytes of a staged entity."""
ENTITIES_PER_READ = 10_000
"""Staged entities that are read together, at most."""


class _Row(NamedTuple):
    key: str
    ordinal: int
    body: bytes | memoryview
    prepared: bytes | memoryview
    older: bytes | memoryview


def stage(generation: Generation, plan: TypePlan, entities: list[EntityChanges]) -> None:
    """Writes what the batch makes of the entities into the generation.

    The generation then holds the complete state up to the batch's end; none of it is shown.
    """
    _merge_staged(generation, plan, entities)
    older = _collect_older(generation, plan, entities) if plan.has_checks else {}
    _remove(generation, plan.type, [each.key for each in entities if each.deleted])
    puts = [each.put for each in entities if each.put is not None]
    if puts:
        keys = [put.key for put in puts]
        names = _names(generation, plan.type, keys)
        columns: Columns = {
            "type": [plan.type] * len(puts),
            "entity": names,
            "key": keys,
            "ordinal": [put.ordinal for put in puts],
            "body": [put.body for put in puts],
            "prepared": [to_bytes(plan, put) for put in puts],
            "older": [
                pack_older(plan, put.key, older.get(name, ()))
                for name, put in zip(names, puts, strict=True)
            ],
        }
        _put(generation, columns, names)


def copy_staged(generation: Generation, into: Generation, *, without: Sequence[str]) -> int:
    """Copies the staged entities of all types but ``without`` into another generation, which must
    not hold any of them; returns how many.
    """
    copied = 0
    for entity_type in set(generation.types) - set(without):
        for rows in _read(generation, entity_type):
            _insert(
                into,
                {
                    "type": [entity_type] * len(rows),
                    "entity": _names(into, entity_type, [row.key for row in rows]),
                    "key": [row.key for row in rows],
                    "ordinal": [row.ordinal for row in rows],
                    "body": [bytes(row.body) for row in rows],
                    "prepared": [bytes(row.prepared) for row in rows],
                    "older": [bytes(row.older) for row in rows],
                },
                len(rows),
            )
            copied += len(rows)
    return copied


def read_staged(
    generation: Generation, plan: TypePlan
) -> Iterator[tuple[list[Prepared], list[Letter]]]:
    """The staged entities of one type in chunks, oldest first, converted again; and letters for
    those that the mapping refuses, because it has changed since.

    A chunk has at most ``ENTITIES_PER_READ`` entities, and about BATCH_BYTES.
    """
    for rows in _read(generation, plan.type):
        puts: list[Prepared] = []
        refused: list[Letter] = []
        keys, ordinals, bodies, documents, _ = zip(*rows, strict=True)
        together = unpack_together(
            plan, keys, ordinals, list(map(bytes, documents)), list(map(bytes, bodies))
        )
        for row, put in zip(rows, together, strict=True):
            try:
                puts.append(put or from_bytes(plan, row.key, row.ordinal, row.prepared, row.body))
            except Refused as refusal:
                code, detail, body = refusal.code, refusal.detail, bytes(row.body)
                refused.append(Letter.of_entity(plan, row.key, row.ordinal, code, detail, body))
        yield puts, refused


def keys_of(generation: Generation, entity_type: str) -> Iterator[str]:
    """The keys of the staged entities of one type."""
    for rows in _read(generation, entity_type):
        yield from (row.key for row in rows)


def staged_keys(generation: Generation, plan: TypePlan, keys: Iterable[str]) -> set[str]:
    """Which of the keys are staged."""
    keys = list(keys)
    names = dict(zip(_names(generation, plan.type, keys), keys, strict=True))
    found: set[str] = set()
    for rows in _by_name(generation, names):
        found.update(names[entity] for entity in rows.values_list("entity", flat=True))
    return found


def staged_entity(generation: Generation, plan: TypePlan, key: str) -> StagedChange | None:
    """One staged entity."""
    return _staged(generation).filter(entity=_names(generation, plan.type, [key])[0]).first()


def _merge_staged(generation: Generation, plan: TypePlan, entities: list[EntityChanges]) -> None:
    """Completes partial updates with what is staged of their entities."""
    partial = _by_names(
        generation,
        plan,
        [
            each
            for each in entities
            if each.put is not None and (not each.put.complete or has_fresh(each.put.values))
        ],
    )
    held: dict[str, bytes] = {}
    for rows in _by_name(generation, partial):
        held.update(
            (entity, bytes(prepared)) for entity, prepared in rows.values_list("entity", "prepared")
        )
    for name, entity in partial.items():
        settle_partial(plan, entity, held.get(name))


def _collect_older(
    generation: Generation, plan: TypePlan, entities: list[EntityChanges]
) -> dict[str, list[Older]]:
    """What each entity was before its newest change, newest first, by name."""
    written = _by_names(generation, plan, [each for each in entities if each.put is not None])
    staged: dict[str, _Row] = {}
    for rows in _by_name(generation, written):
        for entity, *row in rows.values_list("entity", *_Row._fields):
            staged[entity] = _Row(*row)

    collected: dict[str, list[Older]] = {}
    for name, entity in written.items():
        held = staged.get(name)

        def settle(before: EntityChanges, held: _Row | None = held) -> None:
            settle_partial(plan, before, None if held is None else bytes(held.prepared))

        older, is_new = earlier_in_batch(plan, entity, settle)
        if held is not None and not is_new:
            older.append(Older(held.ordinal, bytes(held.prepared), bytes(held.body)))
            older += unpack_older(held.older)
        if older:
            collected[name] = older
    return collected


def read_older(
    generation: Generation, plan: TypePlan, keys: Iterable[str]
) -> dict[str, list[Prepared]]:
    """What the entities were before their newest staged change, newest first."""
    keys = list(keys)
    names = dict(zip(_names(generation, plan.type, keys), keys, strict=True))
    found: dict[str, list[Prepared]] = {}
    for rows in _by_name(generation, names):
        for entity, packed in rows.values_list("entity", "older"):
            key = names[entity]
            revived = [revive(plan, key, each) for each in unpack_older(packed)]
            found[key] = [put for put in revived if put is not None]
    return found


def staged_later(
    generation: Generation, plan: TypePlan, keys: Iterable[str], ordinal: int
) -> set[str]:
    """Which of the keys are staged by a change after that one."""
    keys = list(keys)
    names = dict(zip(_names(generation, plan.type, keys), keys, strict=True))
    found: set[str] = set()
    for rows in _by_name(generation, names):
        later = rows.filter(ordinal__gt=ordinal)
        found.update(names[entity] for entity in later.values_list("entity", flat=True))
    return found


def _put(generation: Generation, columns: Columns, names: list[str]) -> None:
    using = generation.using
    if not generation.repeats and find_database(using).holds_unique_without_gaps:
        # The insert itself finds out whether an entity is staged already. In a dump, none is.
        try:
            with transaction.atomic(using=using):
                _insert(generation, columns, len(names))
            return
        except IntegrityError:
            generation.repeats = True
            generation.save(using=using, update_fields=["repeats"])
    pks: dict[str, int] = {}
    for rows in _by_name(generation, names):
        pks.update(rows.values_list("entity", "pk"))
    new = [place for place, name in enumerate(names) if name not in pks]
    known = [place for place, name in enumerate(names) if name in pks]
    _insert(generation, _at(new, columns), len(new))
    # In place: to delete a row and insert one of the same unique value makes MySQL lock the gaps
    # beside it, into which other generations want to insert.
    changes: Columns = {name: columns[name] for name in ("ordinal", "body", "prepared", "older")}
    _update(generation, _at(known, changes) | {"id": [pks[names[place]] for place in known]})


def _at(places: list[int], columns: Columns) -> Columns:
    return {name: [values[place] for place in places] for name, values in columns.items()}


def _insert(generation: Generation, columns: Columns, count: int) -> None:
    if count:
        ours: Columns = {"generation_id": [generation.pk] * count, **columns}
        find_database(generation.using).insert(StagedChange._meta.db_table, ours)


def _update(generation: Generation, columns: Columns) -> None:
    if columns["id"]:
        find_database(generation.using).update(StagedChange._meta.db_table, columns)


def _remove(generation: Generation, entity_type: str, keys: Sequence[str]) -> None:
    for rows in _by_name(generation, _names(generation, entity_type, keys)):
        delete_rows(rows)


def _read(generation: Generation, entity_type: str) -> Iterator[list[_Row]]:
    """The staged entities of one type in chunks by ordinal, each measured before it is read."""
    of_type = _staged(generation).filter(type=entity_type)
    staged, after = of_type.order_by("ordinal"), 0
    while (last := _measure(staged.filter(ordinal__gt=after))) is not None:
        found = staged.filter(ordinal__gt=after, ordinal__lte=last)
        yield list(map(_Row._make, found.values_list(*_Row._fields)))
        after = last


def _measure(staged: models.QuerySet[Any]) -> int | None:
    """The ordinal of the last entity of the next chunk; None where there is none."""
    room = get_settings().batch_bytes
    all_of_them = staged[:ENTITIES_PER_READ].aggregate(last=Max("ordinal"), size=Sum(SIZE))
    last: int | None = all_of_them["last"]
    if last is None or all_of_them["size"] <= room:
        return last
    for ordinal, size in staged.values_list("ordinal", SIZE)[:ENTITIES_PER_READ]:
        last, room = ordinal, room - size
        if room <= 0:
            break
    return last


def _by_name(
    generation: Generation, names: Iterable[str]
) -> Iterator[models.QuerySet[StagedChange]]:
    using = generation.using
    for chunk in chunks(names, min(READ, connections[using].features.max_query_params or READ)):
        yield StagedChange.objects.using(using).filter(entity__in=chunk)


def _staged(generation: Generation) -> models.QuerySet[StagedChange]:
    return generation.staged.using(generation.using)


def _by_names(
    generation: Generation, plan: TypePlan, entities: Sequence[EntityChanges]
) -> dict[str, EntityChanges]:
    names = _names(generation, plan.type, [each.key for each in entities])
    return dict(zip(names, entities, strict=True))


def _names(generation: Generation, entity_type: str, keys: Iterable[str]) -> list[str]:
    """The names of entities in the table that all generations share."""
    return entity_digests(f"{generation.pk}:{entity_type}", keys)
