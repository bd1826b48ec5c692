"""Giving puts their rows: parents and unique values looked up, written in bulk, parked where they
cannot be shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..batch.preparation import Prepared
from ..parked.lot import Parking
from ..plan import TypePlan
from ..rows.claims import Claims, Lost, frees_a_unique_value, make_way
from ..rows.followers import is_named_anew, unnamed_by
from ..rows.relations import MissingParent, may_circle, resolve_parents, untolerated
from ..rows.rows import RowFailure, changing, chunks, read_rows, row_write, write_rows
from ..rows.writers import RowWrite
from .contest import Contest, Puts, age, lost_to
from .joint import Trouble, closed_part, show_jointly
from .removal import Removal
from .work import Work

__all__ = ["Placed", "Placement"]

ROUNDS = 8
"""Generations of rows that point to each other which are written one after the other; what lies
deeper is written jointly.
"""

SLICE = 10_000
"""Plain rows that are read, compared and written together: what the shown rows hold is in memory
for so many only.
"""


@dataclass(slots=True)
class Placed:
    """What could not be shown: rows that the database refused, and the keys that were parked, by
    type.

    ``shown`` counts the puts that were.
    """

    failures: dict[TypePlan, list[RowFailure]] = field(default_factory=dict)
    parked: dict[TypePlan, set[str]] = field(default_factory=dict)
    shown: int = 0


class Placement:
    """Makes the rows of one stream what complete puts say, for the time of one commit.

    Invariant: a row that is not written in the end is as it was, or, where it stood in the way of
    one that is, hidden with all that the application has in it.
    """

    def __init__(self, work: Work, removal: Removal) -> None:
        self._lot = work.lot
        self._removal = removal
        self._openings = work.openings
        self._outcome = work.outcome
        self._contest = Contest(work.lot, removal)

    def put(self, puts: Mapping[TypePlan, Sequence[Prepared]], *, all_new: bool = False) -> Placed:
        """Makes rows equal to the puts of one group of types (see ``circles``), in which rows may
        be each other's parents.

        ``all_new``: none of them has a row yet.
        """
        placed = Placed({plan: [] for plan in puts}, {plan: set() for plan in puts})
        if not any(plan.relations or plan.unique_sets for plan in puts) and not self._lot.kept.any:
            for plan, some in puts.items():
                for slice_of in chunks(some, SLICE):
                    self._put_plain(plan, slice_of, placed, all_new=all_new)
            return placed

        group = [self._begin(plan, some, all_new=all_new) for plan, some in puts.items()]
        turning = may_circle([each.plan for each in group])
        for _ in range(ROUNDS):
            moved = [self._put_ready(each, placed) for each in group]
            if not turning or not any(moved) or not any(each.waiting for each in group):
                break
        if turning:
            self._put_jointly(group, placed)
        for each in group:
            while each.waiting:
                self._park_orphans(each, each.waiting, placed)
                # Another stream may have brought a parent this very moment.
                self._put_ready(each, placed)
        return placed

    def _begin(self, plan: TypePlan, puts: Sequence[Prepared], *, all_new: bool) -> Puts:
        existing = {} if all_new else read_rows(plan, [put.key_value for put in puts])
        kept = self._lot.kept.find(plan.digest(put.key) for put in puts if put.key not in existing)
        return Puts(plan, sorted(puts, key=age), existing, kept)

    def _put_plain(
        self, plan: TypePlan, puts: list[Prepared], placed: Placed, *, all_new: bool
    ) -> None:
        """Writes rows that need no other row and have no value that another is known to have."""
        existing = {} if all_new else read_rows(plan, [put.key_value for put in puts])
        writes = [row_write(put, put.values, existing.get(put.key)) for put in puts]
        failures = self._write(plan, writes)
        placed.shown += len(puts) - len(failures)
        if self._lot.occupied:
            failed = {failure.write.key for failure in failures}
            self._lot.remove(plan.digest(put.key) for put in puts if put.key not in failed)
        if failures:
            each = Puts(plan, puts, existing, {})
            placed.failures[plan] += self._settle_failures(each, failures, placed)

    def _put_ready(self, each: Puts, placed: Placed) -> bool:
        """Writes those whose parents are shown; whether there were any."""
        plan, moved = each.plan, False
        while each.waiting:
            columns, missing = resolve_parents(plan, each.waiting)
            ready = [
                (put, values, absent)
                for put, values, absent in zip(each.waiting, columns, missing, strict=True)
                if not untolerated(absent)
            ]
            if not ready:
                break
            moved = True

            writes = [each.write(put, values) for put, values, _ in ready]
            claims = Claims(plan, writes)
            losers = self._contest.find_losers(each, claims)
            if losers is None:
                continue  # rows went, or others joined: look again
            if losers:
                self._park_losers(each, losers, placed)
                continue

            if plan.followed and self._part_from_children(each, writes):
                continue

            failures = self._write(plan, writes, claims)
            failed = {failure.write.key for failure in failures}
            self._openings.add_freed(plan, failed)  # a value for which another was parked
            written = [(put, absent) for put, _, absent in ready if put.key not in failed]
            self._settle_written(plan, written, placed)
            each.drop(put.key for put, _ in written)
            if failures:
                known = {put.key: len(absent) for put, _, absent in ready}
                failures = self._with_parents(each, failures, known)
                placed.failures[plan] += self._settle_failures(each, failures, placed)
                each.drop(failure.write.key for failure in failures)
                each.existing = read_rows(plan, [put.key_value for put in each.waiting])
                if len(failures) == len(failed):
                    break
        return moved

    def _part_from_children(self, each: Puts, writes: Sequence[RowWrite]) -> bool:
        """Has children wait for rows that they can no longer name; whether there are such rows."""
        plan = each.plan
        parted = set()
        for attname in plan.followed:
            unnamed = unnamed_by(plan, attname, [w for w in writes if w.key not in each.unnamed])
            if unnamed:
                self._removal.part(plan, attname, unnamed)
                parted |= set(unnamed.values())
        if not parted:
            return False

        each.unnamed |= parted
        # Rows of the type itself may be among the children.
        each.existing = read_rows(plan, [put.key_value for put in each.waiting])
        each.kept |= self._lot.kept.find(plan.digest(put.key) for put in each.waiting)
        # They look again at the end: the database may refuse the change.
        self._openings.add_parents(plan, parted)
        return True

    def _settle_written(
        self,
        plan: TypePlan,
        written: Sequence[tuple[Prepared, Sequence[MissingParent]]],
        placed: Placed,
    ) -> None:
        """Forgets what was parked of the entities, and remembers the parents that are to be linked."""
        placed.shown += len(written)
        self._lot.remove(plan.digest(put.key) for put, _ in written)
        self._contest.robbed[plan].difference_update(put.key for put, _ in written)
        self._lot.park(
            [Parking(plan, put, absent[0], is_shown=True) for put, absent in written if absent]
        )

    def _with_parents(
        self, each: Puts, failures: list[RowFailure], known: Mapping[str, int]
    ) -> list[RowFailure]:
        """Without those of whose parents one has gone since they were looked up (``known`` says how
        many were missing then).

        Another stream's commit took it away: the row is not refused, it waits.
        """
        if not each.plan.relations:
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

    def _settle_failures(
        self, each: Puts, failures: list[RowFailure], placed: Placed
    ) -> list[RowFailure]:
        """Shows or parks those that the database refused for another row's sake; returns the
        others.
        """
        rivalries = [failure.write for failure in failures if failure.is_rivalry]
        refused = [failure for failure in failures if not failure.is_rivalry]
        if rivalries:
            refused += self._settle_rivalries(each, rivalries, placed)
        return refused

    def _settle_rivalries(
        self, each: Puts, writes: list[RowWrite], placed: Placed
    ) -> list[RowFailure]:
        """Writes, one after the other, rows whose unique values only the database can compare.

        Rows that make way, of these writes or of others, are robbed of their values first. Who is
        in the way of none of its own is parked. Returns those that are refused for themselves.
        """
        plan = each.plan
        puts = {put.key: put for put in each.waiting}
        _, missing = resolve_parents(plan, [puts[write.key] for write in writes])
        absent_of = dict(zip((write.key for write in writes), missing, strict=True))
        ahead = {write.key: write for write in writes}
        refused: list[RowFailure] = []
        while ahead:
            key, write = next(iter(ahead.items()))
            del ahead[key]
            failure, lost = self._contest.write_beside_rivals(plan, write, ahead, self._write)
            if failure is not None:
                refused.append(failure)
            elif lost is not None:
                self._park_losers(each, {key: lost}, placed, polled=True)
            else:
                self._settle_written(plan, [(puts[key], absent_of[key])], placed)
        return refused

    def _put_jointly(self, group: list[Puts], placed: Placed) -> None:
        """Shows those that wait for each other only, all at once."""
        while closed := closed_part({each.plan: each.waiting for each in group if each.waiting}):
            by_plan = {each.plan: each for each in group}
            kept = {plan: each.kept for plan, each in by_plan.items()}
            shown = show_jointly(closed, kept)
            if isinstance(shown, Trouble):
                self._settle_trouble(by_plan[shown.plan], shown, placed)
                continue
            for plan, puts in closed.items():
                by_plan[plan].drop(put.key for put in puts)
                _, missing = resolve_parents(plan, puts)
                self._settle_written(plan, list(zip(puts, missing, strict=True)), placed)
                self._note(plan, shown[plan])
                # Linking may have changed more than these writes say.
                self._openings.add_freed(
                    plan, [write.key for write in shown[plan] if write.existing is not None]
                )

    def _settle_trouble(self, each: Puts, trouble: Trouble, placed: Placed) -> None:
        """Parks or refuses those that keep a closed set from being shown."""
        plan = each.plan
        guilty = [failure for failure in trouble.failures if not failure.is_rivalry]
        placed.failures[plan] += guilty
        each.drop(failure.write.key for failure in guilty)
        self._openings.add_freed(plan, [failure.write.key for failure in guilty])

        lost = self._lost_to_shown(each, trouble.lost)
        if lost is None:
            return  # a stale row has gone: try again
        lost |= {
            failure.write.key: lost_to([], failure)
            for failure in trouble.failures
            if failure.is_rivalry
        }
        self._park_losers(each, lost, placed)
        # The others wait for their parents still: a rival that is not shown either will not tell of
        # a value that became free.
        apart = trouble.impossible | (trouble.lost.keys() - lost.keys())
        self._park_orphans(each, [put for put in each.waiting if put.key in apart], placed)
        # Those that miss no parent have joined the set; they are looked at again after all else.
        left = {put.key for put in each.waiting} & trouble.lost.keys()
        self._park_losers(each, {key: trouble.lost[key] for key in left}, placed, polled=True)

    def _lost_to_shown(self, each: Puts, lost: Mapping[str, Lost]) -> dict[str, Lost] | None:
        """Those of the losers whose value is held by a row that is shown and stays; None where one
        did not.
        """
        puts = [put for put in each.waiting if put.key in lost]
        columns, _ = resolve_parents(each.plan, puts)
        found: dict[str, Lost] = {}
        for put, values in zip(puts, columns, strict=True):
            losers = self._contest.find_losers(each, Claims(each.plan, [each.write(put, values)]))
            if losers is None:
                return None
            found |= losers
        return found

    def _write(
        self, plan: TypePlan, writes: list[RowWrite], claims: Claims | None = None
    ) -> list[RowFailure]:
        elsewhere = {} if claims is None else claims.elsewhere

        def clear_the_way(plan: TypePlan, some: Sequence[RowWrite]) -> None:
            make_way(plan, some, elsewhere)

        changed = changing(plan, writes)
        failures = write_rows(plan, changed, clear_the_way=clear_the_way)
        if failures:
            failed = {failure.write.key for failure in failures}
            changed = [write for write in changed if write.key not in failed]
        if claims is not None:
            self._contest.robbed[plan] |= claims.robbed_by({write.key for write in changed})
        self._note(plan, changed)
        return failures

    def _note(self, plan: TypePlan, written: Sequence[RowWrite]) -> None:
        self._outcome.changed(plan.type, [write.key for write in written], deleted=False)
        self._openings.add_parents(plan, (write.key for write in written if write.existing is None))
        if plan.followed:
            anew = [write.key for write in written if is_named_anew(plan, write)]
            self._openings.add_parents(plan, anew)
        if plan.unique_sets:
            self._openings.add_freed(
                plan, [write.key for write in written if frees_a_unique_value(plan, write)]
            )

    def _park_losers(
        self, each: Puts, lost: Mapping[str, Lost], placed: Placed, *, polled: bool = False
    ) -> None:
        # Nobody tells when what protects a holder's row is gone.
        firm = self._contest.firm[each.plan]
        parkings = [
            Parking(each.plan, put, None, *lost[put.key], polled=polled or lost[put.key][1] in firm)
            for put in each.waiting
            if put.key in lost
        ]
        self._park(each, parkings, placed)

    def _park_orphans(self, each: Puts, puts: list[Prepared], placed: Placed) -> None:
        _, missing = resolve_parents(each.plan, puts)
        parkings = [
            Parking(each.plan, put, blocking[0])
            for put, absent in zip(puts, missing, strict=True)
            if (blocking := untolerated(absent))
        ]
        self._park(each, parkings, placed)

    def _park(self, each: Puts, parkings: list[Parking], placed: Placed) -> None:
        """Parks puts; a row that one of the entities has stays as it is, unless it has lost a
        value.
        """
        if not parkings:
            return
        plan = each.plan
        incomplete = [p for p in parkings if p.prepared.key in self._contest.robbed[plan]]
        for parking in parkings:
            parking.stale = parking.prepared.key in each.existing
        if incomplete:
            self._removal.hide(plan, [parking.prepared.key_value for parking in incomplete])
            for parking in incomplete:
                parking.stale = False
                self._contest.robbed[plan].discard(parking.prepared.key)

        # A row that becomes stale yields, also to those who have waited for what it has. One that
        # has been stale has been told of: those who lose to others would be tried for ever.
        stale = {parking.prepared.key for parking in parkings if parking.stale}
        self._openings.add_freed(plan, stale - self._lot.stale_keys(plan, stale))

        keys = {parking.prepared.key for parking in parkings}
        self._lot.park(parkings)
        placed.parked[plan] |= keys
        each.drop(keys)
