"""Carries out what was decided about a put: writes its row, or parks it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..batch.preparation import Prepared
from ..parked.lot import Parking
from ..plan import TypePlan
from ..rows.claims import Claims, Lost, free_wanted_values, frees_a_unique_value
from ..rows.followers import gains_a_name
from ..rows.relations import MissingParent, blocking_parents, resolve_parents
from ..rows.row import RowWrite
from ..rows.rows import RowFailure, changing, write_rows
from .contest import Contest, Puts
from .removal import Removal
from .workspace import Workspace

__all__ = ["Endings", "Placed"]


@dataclass(slots=True)
class Placed:
    """What became of puts, by type: rows that the database refused, and keys that were parked.

    ``shown`` counts the puts whose rows are there.
    """

    failures: dict[TypePlan, list[RowFailure]] = field(default_factory=dict)
    parked: dict[TypePlan, set[str]] = field(default_factory=dict)
    shown: int = 0


class Endings:
    """Writes or parks puts during one commit, and notes it for the feed and for parked changes."""

    def __init__(self, space: Workspace, removal: Removal, contest: Contest) -> None:
        self._lot = space.lot
        self._openings = space.openings
        self._outcome = space.outcome
        self._removal = removal
        self._contest = contest

    def write(
        self, plan: TypePlan, writes: list[RowWrite], claims: Claims | None = None
    ) -> list[RowFailure]:
        """Writes the rows that differ, and notes them; returns those that the database refuses.

        ``claims`` are the unique values that the rows want; rows that make way lose theirs.
        """
        elsewhere = {} if claims is None else claims.elsewhere

        def free_values(plan: TypePlan, some: Sequence[RowWrite]) -> None:
            free_wanted_values(plan, some, elsewhere)

        changed = changing(plan, writes)
        failures = write_rows(plan, changed, free_values=free_values)
        if failures:
            failed = {failure.write.key for failure in failures}
            changed = [write for write in changed if write.key not in failed]
        if claims is not None:
            self._contest.robbed[plan] |= claims.robbed_by({write.key for write in changed})
        self.note(plan, changed)
        # The writes name parents by their columns' values.
        told = [] if plan.named_parents else [(write.key, write.values) for write in changed]
        self._outcome.keep_written(plan, told)
        return failures

    def note(self, plan: TypePlan, written: Sequence[RowWrite]) -> None:
        """Notes rows that were written, and which parked changes that may make showable."""
        self._outcome.changed(plan.type, [write.key for write in written], deleted=False)
        self._openings.add_parents(plan, (write.key for write in written if write.existing is None))
        if plan.followed:
            anew = [write.key for write in written if gains_a_name(plan, write)]
            self._openings.add_parents(plan, anew)
        if plan.unique_sets:
            self._openings.add_freed(
                plan, [write.key for write in written if frees_a_unique_value(plan, write)]
            )

    def settle_written(
        self,
        plan: TypePlan,
        written: Sequence[tuple[Prepared, Sequence[MissingParent]]],
        placed: Placed,
    ) -> None:
        """Forgets what was parked of the entities, except for parents still to be linked."""
        placed.shown += len(written)
        self._lot.remove(plan.digest(put.key) for put, _ in written)
        self._contest.robbed[plan].difference_update(put.key for put, _ in written)
        self._lot.park(
            [Parking(plan, put, absent[0], is_shown=True) for put, absent in written if absent]
        )

    def park_losers(
        self, each: Puts, lost: Mapping[str, Lost], placed: Placed, *, polled: bool = False
    ) -> None:
        """Parks puts that lose a unique value to another row.

        ``polled``: nothing may announce that the value is free, so each commit tries them again.
        """
        # Nothing announces that whatever protects a holder's row is gone.
        firm = self._contest.firm[each.plan]
        parkings = [
            Parking(each.plan, put, None, *lost[put.key], polled=polled or lost[put.key][1] in firm)
            for put in each.waiting
            if put.key in lost
        ]
        self._park(each, parkings, placed)

    def park_orphans(self, each: Puts, puts: list[Prepared], placed: Placed) -> None:
        """Parks those of the puts that cannot be shown without a parent that is missing."""
        _, missing = resolve_parents(each.plan, puts)
        parkings = [
            Parking(each.plan, put, blocking[0])
            for put, absent in zip(puts, missing, strict=True)
            if (blocking := blocking_parents(absent))
        ]
        self._park(each, parkings, placed)

    def _park(self, each: Puts, parkings: list[Parking], placed: Placed) -> None:
        """Parks puts. The entities' older rows stay, unless they have lost a unique value."""
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

        # A row that becomes stale yields to changes that have waited for its unique values. One
        # that was stale before was announced then; doing so again would try losers for ever.
        stale = {parking.prepared.key for parking in parkings if parking.stale}
        self._openings.add_freed(plan, stale - self._lot.stale_keys(plan, stale))

        keys = {parking.prepared.key for parking in parkings}
        self._lot.park(parkings)
        placed.parked[plan] |= keys
        each.drop(keys)
