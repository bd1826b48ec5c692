"""Giving puts their rows: parents and unique values looked up, written in bulk, parked where they cannot be shown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from django.db import models

from .claims import Lost, free_moving_values, gives_up, refused_themselves, taken
from .joint import Trouble, closed_part, show_jointly
from .motion import Motion
from .outcome import Outcome
from .parking import Parking, ParkingLot
from .plan import TypePlan
from .preparation import Prepared
from .relations import MissingParent, resolve_parents, turns
from .removal import Removal
from .rows import RowFailure, changing, chunks, read_rows, row_write, write_rows
from .writers import ExistingRow, RowWrite

__all__ = ["Placed", "Placement", "nullified"]

ROUNDS = 8
"""Generations of rows that point to each other which are written one after the other; what lies deeper is written jointly."""

SLICE = 10_000
"""Plain rows that are read, compared and written together: what the shown rows hold is in memory for so many only."""

MayLack = Callable[[TypePlan, Prepared, MissingParent], bool]
"""Whether the row may be shown without this parent."""


@dataclass(slots=True)
class Placed:
    """What could not be shown: rows that the database refused, and the keys that were parked, by type."""

    failures: dict[TypePlan, list[RowFailure]] = field(default_factory=dict)
    parked: dict[TypePlan, set[str]] = field(default_factory=dict)

    def count(self) -> int:
        """How many."""
        return sum(map(len, self.failures.values())) + sum(map(len, self.parked.values()))


@dataclass(slots=True)
class _Puts:
    """The puts of one type that have no row yet, oldest first."""

    plan: TypePlan
    waiting: list[Prepared]
    existing: dict[str, ExistingRow]

    def drop(self, keys: Iterable[str]) -> None:
        gone = set(keys)
        self.waiting = [put for put in self.waiting if put.key not in gone]


class Placement:
    """Makes the rows of one stream what complete puts say, for the time of one commit."""

    def __init__(self, lot: ParkingLot, removal: Removal, motion: Motion, outcome: Outcome) -> None:
        self._lot = lot
        self._removal = removal
        self._motion = motion
        self._outcome = outcome

    def put(
        self,
        puts: Mapping[TypePlan, Sequence[Prepared]],
        *,
        may_lack: MayLack | None = None,
        all_new: bool = False,
    ) -> Placed:
        """Makes rows equal to the puts of one group of types (see ``circles``), in which rows may be each other's parents.

        ``all_new``: none of them has a row yet.
        """
        placed = Placed({plan: [] for plan in puts}, {plan: set() for plan in puts})
        if not any(plan.relations or plan.unique_sets for plan in puts):
            for plan, some in puts.items():
                for slice_of in chunks(some, SLICE):
                    placed.failures[plan] += self._put_plain(plan, slice_of, all_new=all_new)
            return placed
        group = [
            _Puts(
                plan,
                sorted(some, key=_age),
                {} if all_new else read_rows(plan, [put.key_value for put in some]),
            )
            for plan, some in puts.items()
        ]
        turning = turns([each.plan for each in group])
        for _ in range(ROUNDS):
            moved = [self._put_ready(each, placed, may_lack) for each in group]
            if not turning or not any(moved) or not any(each.waiting for each in group):
                break
        if turning:
            self._put_jointly(group, placed)
        for each in group:
            while each.waiting:
                self._park_orphans(each, each.waiting, placed)
                self._put_ready(
                    each, placed, may_lack
                )  # another stream may have brought a parent this very moment
        return placed

    def put_provisionally(self, plan: TypePlan, puts: Sequence[Prepared]) -> None:
        """Writes what can be written without parents that may still come, for ``put`` to do it properly; parks and refuses nothing."""
        existing = read_rows(plan, [put.key_value for put in puts])
        columns, missing = resolve_parents(plan, puts)
        writes = []
        for put, values, absent in zip(puts, columns, missing, strict=True):
            row = existing.get(put.key)
            if row is None and any(not each.planned.field.null for each in absent):
                continue
            linked = list(values)
            for each in absent:
                place = each.planned.place
                linked[place] = None if row is None else row.values[place]
            writes.append(row_write(put, tuple(linked), row))
        lost = taken(plan, writes)
        self._write(plan, [write for write in writes if write.key not in lost])

    def _put_plain(
        self, plan: TypePlan, puts: list[Prepared], *, all_new: bool
    ) -> list[RowFailure]:
        """Writes rows that need no other row and have no value that another may have."""
        existing = {} if all_new else read_rows(plan, [put.key_value for put in puts])
        writes = [row_write(put, put.values, existing.get(put.key)) for put in puts]
        failures = self._write(plan, writes)
        if self._lot.occupied:
            failed = {failure.write.key for failure in failures}
            self._lot.remove(plan.digest(put.key) for put in puts if put.key not in failed)
        return failures

    def _put_ready(self, each: _Puts, placed: Placed, may_lack: MayLack | None) -> bool:
        """Writes those whose parents are shown; whether there were any."""
        plan, moved = each.plan, False
        while each.waiting:
            columns, missing = resolve_parents(plan, each.waiting)
            ready = [
                (put, values, absent)
                for put, values, absent in zip(each.waiting, columns, missing, strict=True)
                if not absent
                or (
                    may_lack is not None
                    and all(nullified(plan, put, one, may_lack) for one in absent)
                )
            ]
            if not ready:
                break
            moved = True
            writes = [
                row_write(put, values, each.existing.get(put.key)) for put, values, _ in ready
            ]
            lost = taken(plan, writes)
            if lost:
                # Their rows go, and those may be the parents that were just found: look again.
                self._park_losers(each, lost, placed)
                continue
            failures = self._write(plan, writes)
            failed = {failure.write.key for failure in failures}
            self._motion.freed(plan, failed)  # a value for which another was parked
            known = {put.key: len(absent) for put, _, absent in ready}
            guilty = refused_themselves(plan, self._with_parents(each, failures, known))
            placed.failures[plan] += guilty
            written = [(put, absent) for put, _, absent in ready if put.key not in failed]
            self._lot.remove(plan.digest(put.key) for put, _ in written)
            self._lot.park(
                [Parking(plan, put, absent[0], hidden=False) for put, absent in written if absent]
            )
            done = {put.key for put, _ in written} | {failure.write.key for failure in guilty}
            each.drop(done)
            if len(guilty) == len(failures):
                break
            each.existing = read_rows(plan, [put.key_value for put in each.waiting])
        return moved

    def _with_parents(
        self, each: _Puts, failures: list[RowFailure], known: Mapping[str, int]
    ) -> list[RowFailure]:
        """Without those of whose parents one has gone since they were looked up (``known`` says how many were missing then).

        Another stream's commit took it away: the row is not refused, it waits.
        """
        if not failures or not each.plan.relations:
            return failures
        failed = {failure.write.key for failure in failures}
        puts = [put for put in each.waiting if put.key in failed]
        _, missing = resolve_parents(each.plan, puts)
        orphans = {
            put.key
            for put, absent in zip(puts, missing, strict=True)
            if len(absent) > known[put.key]
        }
        return [failure for failure in failures if failure.write.key not in orphans]

    def _put_jointly(self, group: list[_Puts], placed: Placed) -> None:
        """Shows those that wait for each other only, all at once."""
        while closed := closed_part({each.plan: each.waiting for each in group if each.waiting}):
            shown = show_jointly(closed)
            by_plan = {each.plan: each for each in group}
            if isinstance(shown, Trouble):
                each = by_plan[shown.plan]
                placed.failures[shown.plan] += shown.failures
                each.drop(failure.write.key for failure in shown.failures)
                self._motion.freed(shown.plan, [failure.write.key for failure in shown.failures])
                lost = self._lost_to_shown(each, shown.lost)
                self._park_losers(each, lost, placed)
                # The others wait for their parents still: a rival that is not shown either will not tell of a value that became free.
                apart = shown.impossible | (shown.lost.keys() - lost.keys())
                self._park_orphans(each, [put for put in each.waiting if put.key in apart], placed)
                continue
            for plan, puts in closed.items():
                by_plan[plan].drop(put.key for put in puts)
                self._lot.remove(plan.digest(put.key) for put in puts)
                self._note(plan, shown[plan])
                # Linking may have changed more than these writes say.
                self._motion.freed(
                    plan, [write.key for write in shown[plan] if write.existing is not None]
                )

    def _lost_to_shown(self, each: _Puts, lost: Mapping[str, Lost]) -> dict[str, Lost]:
        """Those of the losers whose value is held by a row that is shown."""
        puts = [put for put in each.waiting if put.key in lost]
        columns, _ = resolve_parents(each.plan, puts)
        found: dict[str, Lost] = {}
        for put, values in zip(puts, columns, strict=True):
            found |= taken(each.plan, [row_write(put, values, each.existing.get(put.key))])
        return found

    def _write(self, plan: TypePlan, writes: list[RowWrite]) -> list[RowFailure]:
        changed = changing(plan, writes)
        failures = write_rows(plan, changed, clear_the_way=free_moving_values)
        if failures:
            failed = {failure.write.key for failure in failures}
            changed = [write for write in changed if write.key not in failed]
        self._note(plan, changed)
        return failures

    def _note(self, plan: TypePlan, written: Sequence[RowWrite]) -> None:
        self._outcome.changed(plan.type, [write.key for write in written], deleted=False)
        self._motion.shown(plan, (write.key for write in written if write.existing is None))
        if plan.unique_sets:
            self._motion.freed(plan, [write.key for write in written if gives_up(plan, write)])

    def _park_losers(self, each: _Puts, lost: Mapping[str, Lost], placed: Placed) -> None:
        self._park(
            each,
            [
                Parking(each.plan, put, None, *lost[put.key])
                for put in each.waiting
                if put.key in lost
            ],
            placed,
        )

    def _park_orphans(self, each: _Puts, puts: list[Prepared], placed: Placed) -> None:
        _, missing = resolve_parents(each.plan, puts)
        parkings = [
            Parking(each.plan, put, absent[0])
            for put, absent in zip(puts, missing, strict=True)
            if absent
        ]
        self._park(each, parkings, placed)

    def _park(self, each: _Puts, parkings: list[Parking], placed: Placed) -> None:
        if not parkings:
            return
        keys = [parking.prepared.key for parking in parkings]
        self._removal.remove(each.plan, [parking.prepared.key_value for parking in parkings])
        self._lot.park(parkings)
        placed.parked[each.plan] |= set(keys)
        each.drop(keys)
        each.existing = read_rows(each.plan, [put.key_value for put in each.waiting])


def _age(put: Prepared) -> int:
    return put.ordinal


def nullified(plan: TypePlan, put: Prepared, absent: MissingParent, may_lack: MayLack) -> bool:
    """Whether the row may be shown with NULL for the parent."""
    on_delete = absent.planned.field.remote_field.on_delete  # type: ignore[union-attr]
    return on_delete is models.SET_NULL and may_lack(plan, put, absent)
