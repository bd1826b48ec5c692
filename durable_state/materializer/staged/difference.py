"""Comparing the shown rows with a generation, without writing anything."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from durable_state.conversion import Refused
from durable_state.models import DeadLetter, Generation, ParkedChange, Stream

from ..batch.preparation import Prepared
from ..letters import PROTECTED
from ..plan import StreamPlan, TypePlan, Values
from ..rows.claims import Claims
from ..rows.outside import is_pointed_to
from ..rows.relations import MissingParent, blocking_parents, resolve_parents
from ..rows.rivals import find_rivals
from ..rows.row import ExistingRow
from ..rows.rows import chunks, differ, read_rows, row_write
from .older import passes_checks
from .staging import keys_of, read_older, read_staged, staged_entity, staged_keys
from .steps import count_off
from .switch import shown_keys

__all__ = ["Difference", "differences", "row_story"]

DATABASE_REASONS = ("integrity", "data", "field")
"""Reasons that only writing the row could find; a generation cannot know of them."""


class Difference(NamedTuple):
    """One entity that is not as it should be; ``kind`` is ``missing``, ``extra`` or ``changed``."""

    type: str
    key: str
    kind: str


def differences(stream: Stream, generation: Generation) -> Iterator[Difference]:
    """Where the shown rows differ from the generation, chunk by chunk.

    A parked change excuses its entity only where it cannot be shown indeed, a letter only where it
    is of the newest change; then the row has to be what the change before it made. A row that the
    stream has deleted is excused where a letter says so and other rows point to it.
    """
    plans = StreamPlan(stream)
    shown = plans.all()
    yield from _never_written(plans, {plan.type for plan in shown}, generation)
    count = count_off(generation)
    for plan in shown:
        yield from _missing_and_changed(plan, generation, count)
        for keys in shown_keys(plan):
            staged = staged_keys(generation, plan, keys)
            others = {key: value for key, value in keys.items() if key not in staged}
            excused = _protected(plan, others)
            yield from (Difference(plan.type, key, "extra") for key in others.keys() - excused)


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
    """Entities of types that are registered and have no rows of this stream at all:
    they still need their first fold.
    """
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
        keys = [put.key for put in puts]
        parked, letters = _parked(plan, keys), _letters(plan, keys)
        expected, unknown = _accepted(plan, generation, puts, letters)
        rows = read_rows(plan, [put.key_value for put in puts])

        columns, missing = resolve_parents(plan, expected)
        wanted = dict(zip((put.key for put in expected), columns, strict=True))
        absent_of = dict(zip((put.key for put in expected), missing, strict=True))
        for put in puts:
            row = rows.get(put.key)
            if put.key in unknown:
                continue
            if put.key not in wanted:  # the database takes none of its changes
                if row is not None:
                    yield Difference(plan.type, put.key, "extra")
                continue
            values, blocking = wanted[put.key], blocking_parents(absent_of[put.key])
            if put.key in parked and _waits_rightly(plan, put, row, values, blocking):
                continue
            if row is None:
                yield Difference(plan.type, put.key, "missing")
            elif blocking or differ(plan, row.values, values):
                yield Difference(plan.type, put.key, "changed")


def _accepted(
    plan: TypePlan, generation: Generation, puts: list[Prepared], letters: dict[str, int]
) -> tuple[list[Prepared], set[str]]:
    """What each entity is by the newest change that the database takes;
    and the keys of which that cannot be told.
    """
    refused = [put for put in puts if letters.get(put.key) == put.ordinal]
    if not refused:
        return puts, set()
    if not plan.has_checks:
        return puts, {put.key for put in refused}

    keys = {put.key for put in refused}
    accepted = [put for put in puts if put.key not in keys]
    older = read_older(generation, plan, keys)
    for put in refused:
        fitting = (each for each in older.get(put.key, ()) if passes_checks(plan, each))
        if (before := next(fitting, None)) is not None:
            accepted.append(before)
    return accepted, set()


def _waits_rightly(
    plan: TypePlan,
    put: Prepared,
    row: ExistingRow | None,
    values: Values,
    blocking: Sequence[MissingParent],
) -> bool:
    """Whether the entity cannot be shown:
    a parent is missing, or another row has its unique value.
    """
    if blocking:
        return True
    write = row_write(put, values, row)
    return bool(Claims(plan, [write]).elsewhere or find_rivals(plan, write))


def _letters(plan: TypePlan, keys: Iterable[str]) -> dict[str, int]:
    """The ordinals of the changes that the database refused, by key."""
    letters = DeadLetter.objects.using(plan.using).filter(
        stream=plan.stream, generation=DeadLetter.SHOWN, reason__in=DATABASE_REASONS
    )
    digests = {plan.digest(key): key for key in keys}
    found: dict[str, int] = {}
    for chunk in chunks(digests):
        for entity, ordinal in letters.filter(entity__in=chunk).values_list("entity", "ordinal"):
            found[digests[entity]] = ordinal
    return found


def _protected(plan: TypePlan, keys: Mapping[str, object]) -> set[str]:
    """Which of the rows had to stay: their deletion is a letter, and something points to them."""
    letters = DeadLetter.objects.using(plan.using).filter(
        stream=plan.stream, generation=DeadLetter.SHOWN, reason=PROTECTED
    )
    digests = {plan.digest(key): key for key in keys}
    lettered: set[str] = set()
    for chunk in chunks(digests):
        found = letters.filter(entity__in=chunk).values_list("entity", flat=True)
        lettered.update(digests[entity] for entity in found)
    key = plan.mapping.key.attname
    return {
        each for each in lettered if is_pointed_to(plan, plan.rows().filter(**{key: keys[each]}))
    }


def _parked(plan: TypePlan, keys: Iterable[str]) -> set[str]:
    """Which of the entities are parked; one that is shown without a parent is not."""
    parked = ParkedChange.objects.using(plan.using).filter(stream=plan.stream)
    parked = parked.exclude(reason=ParkedChange.Reason.LINK)
    digests = {plan.digest(key): key for key in keys}
    found: set[str] = set()
    for chunk in chunks(digests):
        entities = parked.filter(entity__in=chunk).values_list("entity", flat=True)
        found.update(digests[entity] for entity in entities)
    return found
