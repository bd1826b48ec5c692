"""Gives puts their rows: looks parents and unique values up, writes in bulk, and parks what cannot
be shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..batch.preparation import Prepared
from ..plan import TypePlan
from ..rows.claims import Claims, Lost
from ..rows.followers import names_given_up
from ..rows.relations import blocking_parents, may_form_circle, resolve_parents
from ..rows.row import RowWrite
from ..rows.rows import RowFailure, chunks, read_rows, row_write
from .contest import Contest, Puts, age, lost_to
from .endings import Endings, Placed
from .joint import LEVELS, Group, Trouble, ancestors, closed_part, show_jointly
from .removal import Removal
from .workspace import Workspace

__all__ = ["Placed", "Placement"]

SLICE = 10_000
"""Plain rows that are read, compared and written together, so that no more are held in memory."""


class Placement:
    """Makes the rows of one stream equal to complete puts, during one commit.

    Invariant: a row that is not written in the end is as it was; or, if it stood in the way of one
    that is, it is hidden, and all that the application has in it is kept.
    """

    def __init__(self, space: Workspace, removal: Removal) -> None:
        self._lot = space.lot
        self._removal = removal
        self._openings = space.openings
        self._contest = Contest(space.lot, removal)
        self._endings = Endings(space, removal, self._contest)

    def put(self, puts: Mapping[TypePlan, Sequence[Prepared]], *, all_new: bool = False) -> Placed:
        """Makes rows equal to the puts of one group of types (see ``circles``), whose rows may be
        each other's parents.

        ``all_new`` promises that none of the entities has a row yet.
        """
        placed = Placed({plan: [] for plan in puts}, {plan: set() for plan in puts})
        if not any(plan.relations or plan.unique_sets for plan in puts) and not self._lot.kept.any:
            for plan, some in puts.items():
                for slice_of in chunks(some, SLICE):
                    self._put_plain(plan, slice_of, placed, all_new=all_new)
            return placed

        group = [self._begin(plan, some, all_new=all_new) for plan, some in puts.items()]
        turning = may_form_circle([each.plan for each in group])
        for _ in range(LEVELS):
            moved = [self._put_ready(each, placed) for each in group]
            if not turning or not any(moved) or not any(each.waiting for each in group):
                break
        if turning:
            self._put_jointly(group, placed)
        for each in group:
            while each.waiting:
                self._endings.park_orphans(each, each.waiting, placed)
                # Another stream may have committed a parent in the meantime.
                self._put_ready(each, placed)
        return placed

    def _begin(self, plan: TypePlan, puts: Sequence[Prepared], *, all_new: bool) -> Puts:
        existing = {} if all_new else read_rows(plan, [put.key_value for put in puts])
        kept = self._lot.kept.find(plan.digest(put.key) for put in puts if put.key not in existing)
        return Puts(plan, sorted(puts, key=age), existing, kept)

    def _put_plain(
        self, plan: TypePlan, puts: list[Prepared], placed: Placed, *, all_new: bool
    ) -> None:
        """Writes rows of types that have neither parents nor known unique values."""
        existing = {} if all_new else read_rows(plan, [put.key_value for put in puts])
        writes = [row_write(put, put.values, existing.get(put.key)) for put in puts]
        failures = self._endings.write(plan, writes)
        placed.shown += len(puts) - len(failures)
        if self._lot.occupied:
            failed = {failure.write.key for failure in failures}
            self._lot.remove(plan.digest(put.key) for put in puts if put.key not in failed)
        if failures:
            each = Puts(plan, puts, existing, {})
            placed.failures[plan] += self._settle_failures(each, failures, placed)

    def _put_ready(self, each: Puts, placed: Placed) -> bool:
        """Writes the puts whose parents are shown; whether there were any."""
        plan, moved = each.plan, False
        while each.waiting:
            columns, missing = resolve_parents(plan, each.waiting)
            ready = [
                (put, values, absent)
                for put, values, absent in zip(each.waiting, columns, missing, strict=True)
                if not blocking_parents(absent)
            ]
            if not ready:
                break
            moved = True

            # If two want the same unique value, one is parked.
            writes = [each.write(put, values) for put, values, _ in ready]
            claims = Claims(plan, writes)
            losers = self._contest.find_losers(each, claims)
            if losers is None:
                continue  # rows were hidden, or puts added: look again
            if losers:
                self._endings.park_losers(each, losers, placed)
                continue

            if plan.followed and self._detach_unnamed_children(each, writes):
                continue

            # The others are written; what the database refuses even so is settled one by one.
            failures = self._endings.write(plan, writes, claims)
            failed = {failure.write.key for failure in failures}
            self._openings.add_freed(plan, failed)  # a value for which another was parked
            written = [(put, absent) for put, _, absent in ready if put.key not in failed]
            self._endings.settle_written(plan, written, placed)
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

    def _detach_unnamed_children(self, each: Puts, writes: Sequence[RowWrite]) -> bool:
        """Parks children of rows that give up the value by which children point to them; whether
        there are such rows.
        """
        plan = each.plan
        parted = set()
        for attname in plan.followed:
            unnamed = names_given_up(
                plan, attname, [w for w in writes if w.key not in each.unnamed]
            )
            if unnamed:
                self._removal.detach_children(plan, attname, unnamed)
                parted |= set(unnamed.values())
        if not parted:
            return False

        each.unnamed |= parted
        # Rows of the type itself may be among the children.
        each.existing = read_rows(plan, [put.key_value for put in each.waiting])
        each.kept |= self._lot.kept.find(plan.digest(put.key) for put in each.waiting)
        # The children are tried again at the end, since the database may refuse the change.
        self._openings.add_parents(plan, parted)
        return True

    def _with_parents(
        self, each: Puts, failures: list[RowFailure], known: Mapping[str, int]
    ) -> list[RowFailure]:
        """Leaves out failures of rows that have lost a parent since their parents were looked up.

        Another stream's commit has deleted it, so the row has to wait, and is not refused.
        ``known`` says by key how many parents were missing before.
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
        """Shows or parks rows that were refused because of another row; returns the others."""
        rivalries = [failure.write for failure in failures if failure.is_rivalry]
        refused = [failure for failure in failures if not failure.is_rivalry]
        if rivalries:
            refused += self._settle_rivalries(each, rivalries, placed)
        return refused

    def _settle_rivalries(
        self, each: Puts, writes: list[RowWrite], placed: Placed
    ) -> list[RowFailure]:
        """Writes, one by one, rows whose unique values only the database can compare.

        Rows that make way lose their values first, whether they are among these writes or not. A
        row whose value is held by one that does not make way is parked. Returns rows that are
        refused because of their own values.
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
            failure, lost = self._contest.write_beside_rivals(
                plan, write, ahead, self._endings.write
            )
            if failure is not None:
                refused.append(failure)
            elif lost is not None:
                self._endings.park_losers(each, {key: lost}, placed, polled=True)
            else:
                self._endings.settle_written(plan, [(puts[key], absent_of[key])], placed)
        return refused

    def _put_jointly(self, group: list[Puts], placed: Placed) -> None:
        """Shows entities that wait only for each other, all at once."""
        while closed := closed_part({each.plan: each.waiting for each in group if each.waiting}):
            by_plan = {each.plan: each for each in group}
            kept = {plan: each.kept for plan, each in by_plan.items()}
            shown = show_jointly(closed, kept)
            if isinstance(shown, Trouble):
                self._settle_trouble(by_plan[shown.plan], shown, closed, placed)
                continue

            for plan, puts in closed.items():
                by_plan[plan].drop(put.key for put in puts)
                _, missing = resolve_parents(plan, puts)
                self._endings.settle_written(plan, list(zip(puts, missing, strict=True)), placed)
                self._endings.note(plan, shown[plan])
                # Linking may have changed more than these writes say.
                self._openings.add_freed(
                    plan, [write.key for write in shown[plan] if write.existing is not None]
                )

    def _settle_trouble(self, each: Puts, trouble: Trouble, closed: Group, placed: Placed) -> None:
        """Parks or refuses the entities that prevent a closed set from being shown."""
        plan = each.plan

        # Refused because of their own values.
        guilty = [failure for failure in trouble.failures if not failure.is_rivalry]
        placed.failures[plan] += guilty
        each.drop(failure.write.key for failure in guilty)
        self._openings.add_freed(plan, [failure.write.key for failure in guilty])

        # Parked for a value that a shown row holds.
        lost = self._lost_to_shown(each, trouble.lost)
        if lost is None:
            return  # a stale row was hidden: try again
        lost |= {
            failure.write.key: lost_to([], failure)
            for failure in trouble.failures
            if failure.is_rivalry
        }
        self._endings.park_losers(each, lost, placed)

        # The others still wait for their parents: a rival that is not shown either will not tell
        # that a value is free.
        beaten = trouble.lost.keys() - lost.keys()
        apart = trouble.impossible | {
            self._one_to_park(plan, key, trouble.lost[key][1], closed) for key in beaten
        }
        self._endings.park_orphans(each, [put for put in each.waiting if put.key in apart], placed)

        # Those that miss no parent were added to the set; they are tried again after all else.
        left = {put.key for put in each.waiting} & apart & beaten
        self._endings.park_losers(
            each, {key: trouble.lost[key] for key in left}, placed, polled=True
        )

    def _one_to_park(self, plan: TypePlan, loser: str, winner: str | None, closed: Group) -> str:
        """Which of two entities that want the same value is parked: the loser, unless the winner
        could not be shown without it.
        """
        if winner is None or all(put.key != winner for put in closed[plan]):
            return loser
        is_needed = (plan.type, loser) in ancestors(closed, plan, winner)
        needs_it = (plan.type, winner) in ancestors(closed, plan, loser)
        return winner if is_needed and not needs_it else loser

    def _lost_to_shown(self, each: Puts, lost: Mapping[str, Lost]) -> dict[str, Lost] | None:
        """The losers whose value is held by a shown row that keeps it; None where a row was hidden,
        so that all has to be tried again.
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
