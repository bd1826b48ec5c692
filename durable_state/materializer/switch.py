"""The switch: the shown rows become what a generation holds, by difference, inside one transaction."""

from __future__ import annotations

from collections.abc import Iterator

from durable_state.conf import get_settings
from durable_state.models import Generation
from durable_state.protocol import Operation, encode_change

from .conversion import key_text
from .letters import Found, LetterBox
from .outcome import Outcome
from .parking import ParkingLot
from .plan import TypePlan
from .relations import circles, turns
from .release import not_written
from .rows import chunks
from .shown import ShownRows
from .staging import read_staged, staged_keys
from .steps import count_off

__all__ = ["shown_keys", "switch"]

WALK = 20_000
"""Keys of shown rows that are looked at together."""


def switch(
    generation: Generation,
    plans: list[TypePlan],
    rows: ShownRows,
    lot: ParkingLot,
    letters: LetterBox,
    outcome: Outcome,
    *,
    all_types: bool,
) -> None:
    """Shows the generation's entities of these types (parents first) and nothing else of them.

    Keys that return keep their row, its primary key and the application's columns; equal rows are not written.
    """
    lot.clear(plan.type for plan in plans)
    letters.promote(generation.pk, None if all_types else [plan.type for plan in plans])
    parked_count = refused_count = 0
    for plan in (plan for group in circles(plans) if turns(group) for plan in group):
        # Of rows that may point to each other, one may come before its parent; no row has to go for that.
        for puts, _ in read_staged(generation, plan):
            rows.put_provisionally(plan, puts)
    empty = {plan.type for plan in plans if not plan.rows().exists()}
    count = count_off(generation)
    for plan in plans:
        all_new = plan.type in empty
        if plan.unique_sets and not all_new:
            _free_others(generation, plan, rows)
        for puts, found in read_staged(generation, plan):
            failures, parked = rows.put(plan, puts, all_new=all_new)
            by_key = {put.key: put for put in puts}
            found += [not_written(plan, failure, by_key[failure.write.key]) for failure in failures]
            letters.write_found(plan, found)
            count(len(puts) + len(found) - len(failures))
            parked_count += len(parked)
            refused_count += len(found)
            if refused_count > get_settings().dead_letter_limit:
                # The commit is going to halt the stream for them; to find out about all the others, row by row, may take hours.
                outcome.letters_written = True
                return
            if generation.purpose != Generation.Purpose.REPLAY:
                # In a replay the row is the one that the last accepted change made; after a snapshot or reset there is none.
                rows.remove(plan, [failure.write.key_value for failure in failures])
    for plan in reversed([plan for plan in plans if plan.type not in empty]):
        protected = _delete_others(generation, plan, rows)
        letters.write_found(plan, protected)
        outcome.letters_written |= bool(protected)
    for plan in plans:
        _forget_others(generation, plan, lot)
    outcome.applied += generation.changes - parked_count - refused_count
    outcome.parked += parked_count
    outcome.dead_letters += refused_count
    outcome.letters_written |= refused_count > 0


def _free_others(generation: Generation, plan: TypePlan, rows: ShownRows) -> None:
    """Takes unique values from the rows that are going to be deleted, so that others can have them; children may still leave them."""
    nullable = [
        p.attname
        for p in plan.fields
        if p.field.null and any(p.attname in columns for columns in plan.unique_sets)
    ]
    if not all(set(nullable) & set(columns) for columns in plan.unique_sets):
        _delete_others(generation, plan, rows)
        return
    for keys in shown_keys(plan):
        staying = staged_keys(generation, plan, keys)
        going = [value for key, value in keys.items() if key not in staying]
        for chunk in chunks(going):
            shown = plan.rows().filter(**{f"{plan.mapping.key.attname}__in": chunk})
            shown.update(**dict.fromkeys(nullable))


def _forget_others(generation: Generation, plan: TypePlan, lot: ParkingLot) -> None:
    """Rows that went with their parent were parked on the way; the generation says which of them there are at all."""
    for keys in lot.keys(plan.type):
        staying = staged_keys(generation, plan, keys)
        lot.remove(plan.digest(key) for key in keys if key not in staying)


def _delete_others(generation: Generation, plan: TypePlan, rows: ShownRows) -> list[Found]:
    """Deletes the shown rows that the generation does not hold; those that must stay come back as letters."""
    kept: dict[str, str] = {}
    for keys in shown_keys(plan):
        staying = staged_keys(generation, plan, keys)
        kept |= rows.remove(plan, [value for key, value in keys.items() if key not in staying])
    return [
        Found(
            key,
            plan.stream.ordinal,
            "protected",
            why,
            encode_change(plan.type, key, Operation.DELETE),
        )
        for key, why in kept.items()
    ]


def shown_keys(plan: TypePlan) -> Iterator[dict[str, object]]:
    """The keys of the shown rows, in large chunks along the unique index that they have: a database without statistics of a table that
    is new may sort what is left of it for each chunk.
    """
    key = plan.mapping.key
    queryset = plan.rows().order_by(key.attname)
    found = list(queryset.values_list(key.attname, flat=True)[:WALK])
    while found:
        yield {key_text(key, value): value for value in found}
        found = list(
            queryset.filter(**{f"{key.attname}__gt": found[-1]}).values_list(
                key.attname, flat=True
            )[:WALK]
        )
