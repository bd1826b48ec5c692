"""Shows parked changes once nothing stands in their way."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from durable_state.conversion import Refused
from durable_state.models import ParkedChange, entity_digest

from ..batch.preparation import Prepared, from_bytes
from ..letters import Letter
from ..parked.lot import Parking
from ..plan import TypePlan
from ..rows.relations import (
    MissingParent,
    blocking_parents,
    circles,
    may_form_circle,
    parent_digest,
    resolve_parents,
)
from .joint import EntityName, settle_blockers
from .placement import Placement
from .workspace import Workspace

__all__ = ["Release"]

Reason = ParkedChange.Reason


class _Member(NamedTuple):
    """A parked entity that may wait in a circle."""

    put: Prepared
    blocking: Sequence[MissingParent]
    waits_for: str
    """The digest of the parent that it is parked for; "" if it is parked for something else."""
    stale: bool


class Release:
    """Shows the parked entities of one stream that can be shown now."""

    def __init__(self, space: Workspace, placement: Placement) -> None:
        self._plans = space.plans
        self._lot = space.lot
        self._openings = space.openings
        self._placement = placement
        self._refused: list[Letter] = []
        self._shown = 0

    def settle(self, *, every: bool = False) -> list[Letter]:
        """Shows parked entities whose parents are shown or whose unique values are free, until
        nothing changes any more.

        Invariant: every entity that was parked for a unique value in this commit is tried again
        after everything else that the commit changes. With ``every``, all polled entities are
        tried instead of a few. Returns those that the database refused; they are not parked any
        more.
        """
        if not self._lot.occupied and not every:
            return []
        for digests in self._lot.take_arrivals():
            self._try_pages(self._lot.waiting_for(digests))
        self._try_pages(self._lot.polled(every=every))
        self._follow_all()

        # A loser may have lost to an entity that did not get the value in the end.
        shown = -1
        while shown < self._shown:
            shown = self._shown
            self._try_pages(self._lot.take_new_losers())
            self._follow_all()
        return self._refused

    def _follow_all(self) -> None:
        self._follow()
        while self._show_closed():
            self._follow()

    def _follow(self) -> None:
        """Tries what waits for rows or values that have become available, until there are none."""
        while True:
            fresh, freed = self._openings.take()
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

        # Some miss another parent now; the others are shown if nothing else is in their way.
        ready, waiting = [], []
        for put, absent in zip(puts, missing, strict=True):
            parked, blocking = before[put.key], blocking_parents(absent)
            if not blocking:
                ready.append(put)
            elif parked.is_link or parked.waits_for != blocking[0].digest:
                # It is another parent that is missing now.
                waiting.append(Parking(plan, put, blocking[0], stale=parked.stale))
        self._lot.park(waiting)
        if ready:
            self._put({plan: ready})

    def _put(self, puts: dict[TypePlan, list[Prepared]]) -> bool:
        """Places puts of parked entities; whether any was shown."""
        placed = self._placement.put(puts)

        # What the database refuses is a dead letter, and not parked any more.
        for plan, failures in placed.failures.items():
            by_key = {put.key: put for put in puts[plan]}
            self._lot.remove(plan.digest(failure.write.key) for failure in failures)
            self._refused += [
                Letter.of_put(plan, failure, by_key[failure.write.key]) for failure in failures
            ]

        self._shown += placed.shown
        return placed.shown > 0

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
        """Shows entities that wait only for each other; whether there were any.

        Only entities parked since the last call can have closed a circle. One that waits for two
        parents, one in the circle and one that does not exist, is made to wait for the latter:
        its arrival is then what closes the circle.
        """
        newly = self._lot.take_new_orphans()
        shown = False
        for group in circles(self._plans.all()) if newly else []:
            if may_form_circle(group):
                of_group = (newly.get(plan.type, set()) for plan in group)
                shown |= self._show_closed_of(group, set().union(*of_group))
        return shown

    def _show_closed_of(self, group: Sequence[TypePlan], newly: set[str]) -> bool:
        members = self._members(group, newly)
        plans = {plan.type: plan for plan in group}

        # Some of them wait, through others, for what is not there: they are parked for that.
        blockers = settle_blockers({entity: each.blocking for entity, each in members.items()})
        self._lot.park(
            (
                Parking(plans[entity[0]], members[entity].put, blocker, stale=members[entity].stale)
                for entity, blocker in blockers.items()
                if blocker.digest != members[entity].waits_for
            ),
            seen=True,
        )

        # The others wait only for each other.
        closed: dict[TypePlan, list[Prepared]] = defaultdict(list)
        for entity, member in members.items():
            if entity not in blockers:
                closed[plans[entity[0]]].append(member.put)
        return bool(closed) and self._put(dict(closed))

    def _members(self, group: Sequence[TypePlan], frontier: set[str]) -> dict[EntityName, _Member]:
        """The parked entities of the frontier, and all that they wait for, directly or through
        others.
        """
        types = {plan.type for plan in group}
        members: dict[EntityName, _Member] = {}
        looked_at: set[str] = set()
        while frontier:
            looked_at |= frontier
            by_type: defaultdict[str, list[ParkedChange]] = defaultdict(list)
            for parked in self._lot.find(frontier).values():
                if not parked.is_link:
                    by_type[parked.type].append(parked)

            frontier = set()
            for plan in (plan for plan in group if plan.type in by_type):
                for member in self._members_of(plan, by_type[plan.type]):
                    members[plan.type, member.put.key] = member
                    frontier |= {
                        entity_digest(*parent.entity)
                        for parent in member.blocking
                        if parent.entity[0] in types
                    }
            frontier -= looked_at
        return members

    def _members_of(self, plan: TypePlan, candidates: list[ParkedChange]) -> Iterator[_Member]:
        before = {parked.key: parked for parked in candidates}
        puts = self._unpack(plan, candidates)
        _, missing = resolve_parents(plan, puts)
        for put, absent in zip(puts, missing, strict=True):
            parked = before[put.key]
            waits_for = parked.waits_for if parked.reason == Reason.PARENT else ""
            yield _Member(put, blocking_parents(absent), waits_for, parked.stale)


def _digests(fresh: dict[TypePlan, set[str] | None]) -> Iterator[str]:
    return (parent_digest(plan.mapping, key) for plan, keys in fresh.items() for key in keys or ())
