"""The switch: makes the shown rows equal to a generation in one transaction, by writing only the
difference.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager

from durable_state.conf import get_settings
from durable_state.conversion import key_text
from durable_state.models import Generation
from durable_state.protocol import Operation, encode_change

from ..changes import Outcome
from ..letters import PROTECTED, Letter, LetterBox
from ..parked.lot import ParkingLot
from ..plan import TypePlan
from ..prospects import nobody
from ..rows.rows import RowFailure
from ..shown.shown import ShownRows
from .staging import read_older, read_staged, staged_keys, staged_later
from .steps import count_off

__all__ = ["shown_keys", "switch"]

KEYS_PER_READ = 20_000
"""Keys of shown rows that are read together."""


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
    """Shows the generation's entities of these types (parents first), and no others of them.

    Entities that stay keep their row, its primary key and the application's columns; equal rows are
    not written.
    """
    lot.clear(plan.type for plan in plans)
    letters.promote(generation.pk, None if all_types else [plan.type for plan in plans])
    empty = {plan.type for plan in plans if not plan.rows().exists()}
    count = count_off(generation)
    progress = _Progress(generation, plans, empty)

    parked_count = refused_count = 0
    with progress.foretold():
        for plan in plans:
            for puts, found in read_staged(generation, plan):
                progress.last[plan.type] = puts[-1].ordinal if puts else 0
                failures, parked = rows.put(plan, puts, all_new=plan.type in empty)
                by_key = {put.key: put for put in puts}
                found += [Letter.of_put(plan, each, by_key[each.write.key]) for each in failures]
                letters.write(found)
                count(len(puts) + len(found) - len(failures))
                parked_count += len(parked)
                refused_count += len(found)
                if refused_count > get_settings().dead_letter_limit:
                    # The commit will halt the stream because of them; finding all others, row by
                    # row, might take hours.
                    outcome.letters_written = True
                    return
                _fall_back(generation, plan, rows, failures)
        # Before anything is deleted, so that a row with a new parent does not go with its old one.
        rows.release()

    for plan in reversed([plan for plan in plans if plan.type not in empty]):
        protected = _delete_others(generation, plan, rows)
        letters.write(protected)
        outcome.letters_written |= bool(protected)
    for plan in plans:
        _forget_others(generation, plan, lot)
    outcome.applied += generation.changes - parked_count - refused_count
    outcome.parked += parked_count
    outcome.dead_letters += refused_count
    outcome.letters_written |= refused_count > 0


class _Progress:
    """How far a switch has come: which shown rows it is still going to write, or to delete.

    ``last`` holds by type the ordinal of the newest change that was applied to the rows.
    """

    def __init__(
        self, generation: Generation, plans: list[TypePlan], empty: Collection[str]
    ) -> None:
        self.last: dict[str, int] = {}
        self._empty = empty
        self._generation = generation
        self._plans = {plan.type: plan for plan in plans}

    @contextmanager
    def foretold(self) -> Iterator[None]:
        """Tells the lookup of parents and unique values about it while the block runs."""
        if not self._plans:
            yield
            return
        prospects = next(iter(self._plans.values())).prospects
        prospects.leaving, prospects.moving = self._leaving, self._moving
        try:
            yield
        finally:
            prospects.leaving = prospects.moving = nobody

    def _leaving(self, entity_type: str, keys: Collection[str]) -> set[str]:
        plan = self._plans.get(entity_type)
        if plan is None or not keys or entity_type in self._empty:
            return set()
        return set(keys) - staged_keys(self._generation, plan, keys)

    def _moving(self, entity_type: str, keys: Collection[str]) -> set[str]:
        plan = self._plans.get(entity_type)
        if plan is None or not keys:
            return set()
        return staged_later(self._generation, plan, keys, self.last.get(entity_type, 0))


def _fall_back(
    generation: Generation, plan: TypePlan, rows: ShownRows, failures: Sequence[RowFailure]
) -> None:
    """Shows entities whose newest change the database refuses by their newest change that it
    accepts, if there is one; deletes the others' rows.
    """
    left = {failure.write.key: failure.write.key_value for failure in failures}
    older = read_older(generation, plan, left) if plan.has_checks and left else {}
    while trying := [older[key].pop(0) for key in left if older.get(key)]:
        refused, _ = rows.put(plan, trying)
        again = {failure.write.key for failure in refused}
        for put in trying:
            if put.key not in again:
                del left[put.key]
    rows.remove(plan, left.values())


def _forget_others(generation: Generation, plan: TypePlan, lot: ParkingLot) -> None:
    """Forgets parked and kept entities that the generation does not hold: rows deleted with a
    parent during the switch were parked.
    """
    for pages in (lot.keys(plan.type), lot.kept.keys(plan.type)):
        for keys in pages:
            staying = staged_keys(generation, plan, keys)
            lot.remove(plan.digest(key) for key in keys if key not in staying)


def _delete_others(generation: Generation, plan: TypePlan, rows: ShownRows) -> list[Letter]:
    """Deletes the shown rows that the generation does not hold; returns letters for those that
    have to stay.
    """
    kept: dict[str, str] = {}
    for keys in shown_keys(plan):
        staying = staged_keys(generation, plan, keys)
        kept |= rows.remove(plan, [value for key, value in keys.items() if key not in staying])
    return [
        Letter.of_entity(
            plan,
            key,
            plan.stream.ordinal,
            PROTECTED,
            why,
            encode_change(plan.type, key, Operation.DELETE),
        )
        for key, why in kept.items()
    ]


def shown_keys(plan: TypePlan) -> Iterator[dict[str, object]]:
    """The keys of the shown rows, in large chunks along their unique index.

    The chunks are large because a database that has no statistics of a new table may sort all that
    is left of it for each one.
    """
    key = plan.mapping.key
    queryset = plan.rows().order_by(key.attname)
    found = list(queryset.values_list(key.attname, flat=True)[:KEYS_PER_READ])
    while found:
        yield {key_text(key, value): value for value in found}
        found = list(
            queryset.filter(**{f"{key.attname}__gt": found[-1]}).values_list(
                key.attname, flat=True
            )[:KEYS_PER_READ]
        )
