"""The switch: the shown rows become what a generation holds, by difference, inside one transaction."""

from __future__ import annotations

from collections.abc import Iterator

from durable_state.models import Generation

from .conversion import key_text
from .letters import LetterBox
from .outcome import Outcome
from .parking import ParkingLot
from .plan import TypePlan
from .rows import CHUNK
from .shown import ShownRows
from .staging import read_staged, staged_keys

__all__ = ["shown_keys", "switch"]


def switch(
    generation: Generation,
    plans: list[TypePlan],
    rows: ShownRows,
    lot: ParkingLot,
    letters: LetterBox,
    outcome: Outcome,
) -> None:
    """Shows the generation's entities of these types (parents first) and nothing else of them.

    Keys that return keep their row, its primary key and the application's columns; equal rows are not written.
    """
    lot.clear(plan.type for plan in plans)
    letters.promote(generation.pk, [plan.type for plan in plans])
    counts = {"parked": 0, "refused": 0}
    for plan in plans:
        if plan.unique_sets:
            _delete_others(generation, plan, rows)
        for puts in read_staged(generation, plan, CHUNK):
            failures, parked = rows.put(plan, puts)
            counts["parked"] += len(parked)
            counts["refused"] += len(failures)
            by_key = {put.key: put for put in puts}
            letters.write_refused(plan, [(by_key[failure.write.key], failure.error) for failure in failures])
            rows.remove(plan, [failure.write.key_value for failure in failures])
    for plan in reversed(plans):
        _delete_others(generation, plan, rows)
    outcome.applied += generation.changes - counts["parked"] - counts["refused"]
    outcome.parked += counts["parked"]
    outcome.dead_letters += counts["refused"]
    outcome.switched = True


def _delete_others(generation: Generation, plan: TypePlan, rows: ShownRows) -> None:
    """Deletes the shown rows that the generation does not hold."""
    for keys in shown_keys(plan):
        staying = staged_keys(generation, plan, list(keys))
        rows.remove(plan, [value for key, value in keys.items() if key not in staying])


def shown_keys(plan: TypePlan) -> Iterator[dict[str, object]]:
    """The keys of the shown rows, chunk by chunk in the order of their primary keys."""
    last = None
    while True:
        queryset = plan.rows().order_by("pk")
        if last is not None:
            queryset = queryset.filter(pk__gt=last)
        found = list(queryset.values_list("pk", plan.mapping.key.attname)[:CHUNK])
        if not found:
            return
        last = found[-1][0]
        yield {key_text(plan.mapping.key, value): value for _, value in found}
