"""Comparing the shown rows with a generation, without writing anything."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from durable_state.models import DeadLetter, Generation, ParkedChange, Stream

from .conversion import Refused
from .plan import StreamPlan, TypePlan
from .relations import resolve_parents
from .rows import chunks, differ, read_rows
from .staging import keys_of, read_staged, staged_entity, staged_keys
from .steps import count_off
from .switch import shown_keys

__all__ = ["Difference", "differences", "row_story"]

DATABASE_REASONS = ("integrity", "data", "field", "protected")
"""Reasons that only writing the row could find; a generation cannot know of them."""


class Difference(NamedTuple):
    """One entity that is not as it should be; ``kind`` is ``missing``, ``extra`` or ``changed``."""

    type: str
    key: str
    kind: str


def differences(stream: Stream, generation: Generation) -> Iterator[Difference]:
    """Where the shown rows differ from the generation, chunk by chunk.

    Parked entities are expected to have no row, and those that the database refused are left out: their letters tell of them.
    """
    plans = StreamPlan(stream)
    shown = plans.all()
    yield from _never_written(plans, {plan.type for plan in shown}, generation)
    count = count_off(generation)
    for plan in shown:
        yield from _missing_and_changed(plan, generation, count)
        for keys in shown_keys(plan):
            staged = staged_keys(generation, plan, keys)
            excused = _refused(plan, [key for key in keys if key not in staged])
            yield from (
                Difference(plan.type, key, "extra")
                for key in keys
                if key not in staged and key not in excused
            )


def row_story(
    stream: Stream, generation: Generation, entity_type: str, key: str
) -> tuple[str, str]:
    """The row that one entity should have, and the one it has, as text."""
    plan = StreamPlan(stream).find(entity_type)
    if plan is None:
        return "none: the type is not registered", "none"
    staged = staged_entity(generation, plan, key)
    expected = "none" if staged is None else bytes(staged.prepared).decode()
    try:
        found = read_rows(plan, [plan.key_value(key)]).get(key)
    except Refused:
        found = None  # no row can have that key
    parked = (
        ParkedChange.objects.using(plan.using)
        .filter(stream=stream, entity=plan.digest(key))
        .first()
    )
    columns = () if found is None else zip(plan.places, found.values, strict=True)
    shown = (
        "none" if found is None else ", ".join(f"{attname}={value!r}" for attname, value in columns)
    )
    return expected, shown if parked is None else f"{shown} (parked: {parked.detail})"


def _never_written(
    plans: StreamPlan, shown: set[str], generation: Generation
) -> Iterator[Difference]:
    """Entities of types that are registered and have no rows of this stream at all: they still need their first fold."""
    for entity_type in set(generation.types) - shown:
        if plans.find(entity_type) is not None:
            yield from (
                Difference(entity_type, key, "missing") for key in keys_of(generation, entity_type)
            )


def _missing_and_changed(
    plan: TypePlan, generation: Generation, count: Callable[[int], None]
) -> Iterator[Difference]:
    for puts, refused in read_staged(generation, plan):
        count(len(puts) + len(refused))
        rows = read_rows(plan, [put.key_value for put in puts])
        columns, missing = resolve_parents(plan, puts)
        keys = [put.key for put in puts]
        excused = _refused(plan, keys) | _parked(plan, keys)
        for put, wanted, absent in zip(puts, columns, missing, strict=True):
            if put.key in excused:
                continue
            row = rows.get(put.key)
            if row is None:
                yield Difference(plan.type, put.key, "missing")
            elif absent or differ(plan, row.values, wanted):
                yield Difference(plan.type, put.key, "changed")


def _refused(plan: TypePlan, keys: list[str]) -> set[str]:
    letters = DeadLetter.objects.using(plan.using).filter(
        stream=plan.stream, generation=0, reason__in=DATABASE_REASONS
    )
    digests = {plan.digest(key): key for key in keys}
    found = (
        letters.filter(entity__in=chunk).values_list("entity", flat=True)
        for chunk in chunks(digests)
    )
    return {digests[entity] for entities in found for entity in entities}


def _parked(plan: TypePlan, keys: list[str]) -> set[str]:
    digests = {plan.digest(key): key for key in keys}
    parked = ParkedChange.objects.using(plan.using).filter(stream=plan.stream)
    found = (
        parked.filter(entity__in=chunk).values_list("entity", flat=True)
        for chunk in chunks(digests)
    )
    return {digests[entity] for entities in found for entity in entities}
