"""Showing what has waited."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from durable_state.models import ParkedChange, entity_digest

from .conversion import Refused
from .joint import settle_blockers
from .letters import Found
from .motion import Motion
from .parking import Parking, ParkingLot
from .placement import Placement, nullified
from .plan import StreamPlan, TypePlan
from .preparation import Prepared, as_message, from_bytes
from .relations import MissingParent, circles, parent_digest, resolve_parents, turns
from .rows import RowFailure

__all__ = ["Release", "not_written"]


Entity = tuple[str, str]


class Release:
    """Shows the parked entities of one stream that can be shown now."""

    def __init__(
        self, plans: StreamPlan, lot: ParkingLot, placement: Placement, motion: Motion
    ) -> None:
        self._plans = plans
        self._lot = lot
        self._placement = placement
        self._motion = motion
        self._refused: list[tuple[TypePlan, Found]] = []
        self._left: Mapping[Entity, int] = {}

    def settle(
        self, left: Mapping[Entity, int], *, every: bool = False
    ) -> list[tuple[TypePlan, Found]]:
        """Shows parked entities whose parents have come or whose unique values are free, until nothing moves any more.

        ``left``: parents that came and went within the commit, with the ordinals of their deletions: who waited for one is shown
        without, where the foreign key says SET_NULL. ``every``: of those that nobody tells about, all are tried. Returns those that
        the database refused; they are parked no longer.
        """
        self._left = left
        if not self._lot.occupied and not every:
            return []
        for digests in self._lot.take_arrivals():
            self._try_pages(self._lot.waiting_for(digests))
        self._try_pages(self._lot.polled(every=every))
        self._try_pages(self._lot.waiting_for(self._left_digests()))
        self._follow()
        while self._show_closed():
            self._follow()
        return self._refused

    def _follow(self) -> None:
        """Tries what waits for something that moved, till nothing does."""
        while True:
            fresh, freed = self._motion.take()
            if not fresh and not freed:
                return
            if None in (*fresh.values(), *freed.values()):
                self._try_pages(self._lot.waiting_for(None))
                continue
            self._try_pages(self._lot.waiting_for(_digests(fresh)))
            holders = (plan.digest(key) for plan, keys in freed.items() for key in keys or ())
            self._try_pages(self._lot.waiting_for(holders))

    def _try_pages(self, pages: Iterator[list[ParkedChange]]) -> None:
        for page in pages:
            by_type: defaultdict[str, list[ParkedChange]] = defaultdict(list)
            for parked in page:
                by_type[parked.type].append(parked)
            for plan in self._plans.all():
                if plan.type in by_type:
                    self._try(plan, by_type[plan.type])

    def _try(self, plan: TypePlan, candidates: list[ParkedChange]) -> None:
        """Tries to show parked entities of one type."""
        before = {parked.key: parked for parked in candidates}
        puts = self._unpack(plan, candidates)
        _, missing = resolve_parents(plan, puts)
        ready, waiting = [], []
        for put, absent in zip(puts, missing, strict=True):
            parked = before[put.key]
            if not parked.hidden or all(
                nullified(plan, put, each, self._left_later) for each in absent
            ):
                ready.append(put)
            elif parked.reason != "parent" or parked.waits_for != absent[0].digest:
                waiting.append(
                    Parking(plan, put, absent[0])
                )  # another parent is the one that is missing now
        self._lot.park(waiting)
        if ready:
            self._put(
                {plan: ready}, shown={key for key, parked in before.items() if not parked.hidden}
            )

    def _put(self, puts: dict[TypePlan, list[Prepared]], shown: set[str]) -> bool:
        """Places puts of parked entities, of which those in ``shown`` have a row already; whether any was placed."""

        def may_lack(plan: TypePlan, put: Prepared, absent: MissingParent) -> bool:
            return put.key in shown or self._left_later(plan, put, absent)

        placed = self._placement.put(puts, may_lack=may_lack)
        for plan, failures in placed.failures.items():
            by_key = {put.key: put for put in puts[plan]}
            self._lot.remove(plan.digest(failure.write.key) for failure in failures)
            self._refused += [
                (plan, not_written(plan, each, by_key[each.write.key])) for each in failures
            ]
        return placed.count() < sum(map(len, puts.values()))

    def _left_later(self, plan: TypePlan, put: Prepared, absent: MissingParent) -> bool:
        return self._left.get(absent.entity, 0) > put.ordinal

    def _left_digests(self) -> Iterator[str]:
        for entity_type, key in self._left:
            if (plan := self._plans.find(entity_type)) is not None:
                yield parent_digest(plan.mapping, key)

    def _unpack(self, plan: TypePlan, candidates: Iterable[ParkedChange]) -> list[Prepared]:
        puts = []
        for parked in candidates:
            try:
                puts.append(
                    from_bytes(plan, parked.key, parked.ordinal, parked.prepared, parked.body)
                )
            except Refused:
                continue  # the mapping has changed since; the type shows "needs reset"
        return puts

    def _show_closed(self) -> bool:
        """Shows entities that wait for each other only; whether there were any.

        Only those parked since the last look can have closed a circle. Whoever waits for two parents, one in the circle and one not
        there at all, is made to wait for the latter: its coming is then what closes it.
        """
        newly = self._lot.take_newly()
        shown = False
        for group in circles(self._plans.all()) if newly is None or newly else []:
            if turns(group):
                of_group = (
                    self._lot.orphans(p.type) if newly is None else newly.get(p.type, set())
                    for p in group
                )
                shown |= self._show_closed_of(group, set().union(*of_group))
        return shown

    def _show_closed_of(self, group: Sequence[TypePlan], frontier: set[str]) -> bool:
        plans = {plan.type: plan for plan in group}
        puts: dict[tuple[str, str], Prepared] = {}
        missing: dict[tuple[str, str], Sequence[MissingParent]] = {}
        waited_for: dict[tuple[str, str], str] = {}
        looked_at: set[str] = set()
        while frontier:
            looked_at |= frontier
            by_type: defaultdict[str, list[ParkedChange]] = defaultdict(list)
            for parked in self._lot.of(frontier).values():
                if parked.hidden:
                    by_type[parked.type].append(parked)
            frontier = set()
            for plan in (plan for plan in group if plan.type in by_type):
                some = self._unpack(plan, by_type[plan.type])
                _, absent = resolve_parents(plan, some)
                waited_for |= {
                    (plan.type, parked.key): parked.waits_for if parked.reason == "parent" else ""
                    for parked in by_type[plan.type]
                }
                for put, each in zip(some, absent, strict=True):
                    puts[plan.type, put.key], missing[plan.type, put.key] = put, each
                    frontier |= {
                        entity_digest(*parent.entity)
                        for parent in each
                        if parent.entity[0] in plans
                    }
            frontier -= looked_at
        blockers = settle_blockers(missing)
        self._lot.park(
            (
                Parking(plans[entity[0]], puts[entity], blocker)
                for entity, blocker in blockers.items()
                if blocker.digest != waited_for[entity]
            ),
            seen=True,
        )
        closed: dict[TypePlan, list[Prepared]] = defaultdict(list)
        for entity, put in puts.items():
            if entity not in blockers:
                closed[plans[entity[0]]].append(put)
        return bool(closed) and self._put(dict(closed), shown=set())


def not_written(plan: TypePlan, failure: RowFailure, put: Prepared) -> Found:
    """The letter of an accepted change that the database refused when its row was written."""
    return Found(put.key, put.ordinal, failure.reason, failure.detail, as_message(plan, put))


def _digests(fresh: dict[TypePlan, set[str] | None]) -> Iterator[str]:
    return (parent_digest(plan.mapping, key) for plan, keys in fresh.items() for key in keys or ())
