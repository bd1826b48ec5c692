"""Decides which rows make way for others that want their unique values.

A row that is about to be deleted or written holds its unique value only until then, and a stale one
only until another change needs it. All other rows keep theirs, and changes that want them are
parked.

Why: decision 27.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from durable_state.conversion import Refused

from ..batch.preparation import Prepared, from_bytes
from ..parked.lot import ParkingLot
from ..plan import TypePlan, Values
from ..rows.claims import Claims, Lost, vacate
from ..rows.relations import blocking_parents, resolve_parents
from ..rows.rivals import find_rivals
from ..rows.row import ExistingRow, RowWrite
from ..rows.rows import RowFailure, read_rows, row_write
from .removal import Removal

__all__ = ["Contest", "Puts", "age", "lost_to"]


@dataclass(slots=True)
class Puts:
    """The puts of one type that are still to be written or parked, oldest first."""

    plan: TypePlan
    waiting: list[Prepared]
    existing: dict[str, ExistingRow]
    kept: dict[str, bytes]
    unnamed: set[str] = field(default_factory=set)
    """Keys whose rows no child points to any more by a value that they give up."""
    joined: set[str] = field(default_factory=set)
    """Keys whose parked changes were added, because their stale rows were in the way."""

    def drop(self, keys: Iterable[str]) -> None:
        """Takes out the puts with these keys: they are written or parked."""
        gone = set(keys)
        self.waiting = [put for put in self.waiting if put.key not in gone]

    def write(self, put: Prepared, values: Values) -> RowWrite:
        """The write that makes the put's row."""
        kept = self.kept.get(self.plan.digest(put.key)) if self.kept else None
        return row_write(put, values, self.existing.get(put.key), kept)


class Contest:
    """Decides during one commit which entity may have a unique value that several want."""

    def __init__(self, lot: ParkingLot, removal: Removal) -> None:
        self.robbed: defaultdict[TypePlan, set[str]] = defaultdict(set)
        """Keys whose rows have lost a unique value, and are still to be written or deleted."""
        self.firm: defaultdict[TypePlan, set[str]] = defaultdict(set)
        """Keys of rows that cannot be deleted, because something protects them."""
        self._lot = lot
        self._removal = removal
        self._deletable: defaultdict[TypePlan, set[str]] = defaultdict(set)
        """Keys of rows that are known to be deletable."""

    def find_losers(self, each: Puts, claims: Claims) -> dict[str, Lost] | None:
        """The writes that lose a unique value, by key, each with whom it loses to.

        Hides rows that are in the way of the others, and adds parked changes whose stale rows are
        in the way to the puts. Returns None where it has done so: everything that was looked up
        has to be looked up again.
        """
        plan = each.plan
        weak = self.find_weak(plan, claims.rivals()) if claims.elsewhere else set()
        stale = self._lot.stale_keys(plan, claims.rivals() - weak) if claims.elsewhere else set()
        stale -= self.firm[plan]
        if stale and self._join(each, stale):
            return None

        losers = claims.losers(weak | stale, self.firm[plan])
        in_the_way = claims.in_the_way(losers, stale) - self.firm[plan]
        if not in_the_way:
            return losers
        refused = self._removal.hide(plan, [plan.key_value(key) for key in in_the_way])
        self.firm[plan] |= refused.keys()
        for key in in_the_way - refused.keys():
            each.existing.pop(key, None)
        each.kept |= self._lot.kept.find(plan.digest(key) for key in in_the_way - refused.keys())
        return None

    def find_weak(self, plan: TypePlan, keys: Collection[str]) -> set[str]:
        """The keys of the rows that this commit is still going to delete or write."""
        moving = plan.prospects.moving(plan.type, keys)
        leaving = plan.prospects.leaving(plan.type, keys) - self.firm[plan]
        if unknown := leaving - self._deletable[plan]:
            # A value may be promised to another row only if its holder is sure to be deleted.
            values = [plan.key_value(key) for key in unknown]
            protected = self._removal.find_protected(plan, values)
            self.firm[plan] |= protected
            self._deletable[plan] |= unknown - protected
        return moving | (leaving - self.firm[plan])

    def _join(self, each: Puts, stale: Collection[str]) -> bool:
        """Adds parked changes that are not blocked by a parent to the puts, with which they may
        exchange values; whether there were any.

        Each is added once at most: one that loses again has its stale row hidden, or else it would
        join and lose for ever.
        """
        plan = each.plan
        puts = []
        new = set(stale) - each.joined - {put.key for put in each.waiting}
        for parked in self._lot.find(map(plan.digest, new)).values():
            try:
                puts.append(
                    from_bytes(plan, parked.key, parked.ordinal, parked.prepared, parked.body)
                )
            except Refused:
                continue  # the mapping has changed since
        _, missing = resolve_parents(plan, puts)
        joining = [
            put for put, absent in zip(puts, missing, strict=True) if not blocking_parents(absent)
        ]
        if not joining:
            return False
        each.joined |= {put.key for put in joining}
        each.waiting = sorted([*each.waiting, *joining], key=age)
        each.existing |= read_rows(plan, [put.key_value for put in joining])
        return True

    def write_beside_rivals(
        self,
        plan: TypePlan,
        write: RowWrite,
        ahead: Mapping[str, RowWrite],
        write_rows: Callable[[TypePlan, list[RowWrite]], list[RowFailure]],
    ) -> tuple[RowFailure | None, Lost | None]:
        """Writes one row; if that fails, returns why the database refuses it, or to whom it loses.

        ``ahead`` are the writes of the same type that follow; their rows make way.
        """
        robbed: set[str] = set()
        while True:
            failures = write_rows(plan, [write])
            if not failures:
                self.robbed[plan] |= robbed
                return None, None
            if not failures[0].is_rivalry:
                return failures[0], None

            rivals = find_rivals(plan, write)
            keys = {rival.key for rival in rivals if rival.key is not None}
            stale = self._lot.stale_keys(plan, keys) - self.firm[plan]
            weak = self.find_weak(plan, keys) | (keys & ahead.keys()) - self.firm[plan]
            firm = [rival for rival in rivals if rival.key not in weak | stale | robbed]
            movable = [rival for rival in rivals if rival.key in (weak | stale) - robbed]
            if firm or not movable:
                if write.kept is not None:
                    # Perhaps another row has what was kept by now: try without it.
                    write.kept = None
                    continue
                return None, lost_to(firm, failures[0])

            for rival in movable:
                assert rival.key is not None
                if rival.key in weak:
                    leading = rival.key not in ahead  # whose children follow when it is written
                    if not vacate(plan, rival.columns, [rival.pk], leading=leading):
                        return None, lost_to([rival], failures[0])
                    robbed.add(rival.key)
                elif refused := self._removal.hide(plan, [plan.key_value(rival.key)]):
                    self.firm[plan] |= refused.keys()


def age(put: Prepared) -> int:
    """The key by which puts are sorted, since the older claim wins."""
    return put.ordinal


def lost_to(rivals: Sequence[object], failure: RowFailure) -> Lost:
    """Describes the loss of a value that only the database can compare."""
    text = str(failure.error).strip().splitlines()[0]
    key = getattr(rivals[0], "key", None) if rivals else None
    by = f" The row of {key!r} has it." if key is not None else ""
    return f"The database says that a unique value is taken: {text}.{by}", key
