"""Where to put each box and each arrow, so that few arrows cross (after Sugiyama).

An arrow that passes a floor has a lane there, between the boxes.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations, pairwise
from math import inf
from statistics import fmean

from .rooms import Arrow, House

__all__ = ["BOX", "Layout", "Place", "lay_out"]

BOX = 140.0
"""The width of a box; all lengths are in pixels."""

GAP = 22.0
"""The gap between two boxes on a floor."""

LANE = 18.0
"""The gap between a lane and its neighbours."""

PULL = 12
"""How much more strongly lanes are pulled to their places than boxes."""

Place = str | tuple[Arrow, int]
"""A room, or the lane of an arrow on one floor."""


@dataclass
class Layout:
    """The places of the rooms and arrows."""

    floors: list[list[Place]]
    """The places on each floor, from left to right."""

    routes: dict[Arrow, list[Place]]
    """Each arrow: the importer, its lanes, and the imported room."""

    x: dict[Place, float] = field(default_factory=dict)
    """The middle of each place."""

    def __post_init__(self) -> None:
        self._above: dict[Place, list[Place]] = {
            each: [] for floor in self.floors for each in floor
        }
        self._below: dict[Place, list[Place]] = {
            each: [] for floor in self.floors for each in floor
        }
        for route in self.routes.values():
            for upper, lower in pairwise(route):
                self._below[upper].append(lower)
                self._above[lower].append(upper)

    # The order on each floor.

    def sort(self) -> None:
        """Puts the places of each floor into an order with few crossings."""
        best, fewest = [list(floor) for floor in self.floors], self.crossings()
        for _ in range(12):
            _sweep(self.floors, self._above)
            _sweep(self.floors[::-1], self._below)
            self._swap()
            if (crossings := self.crossings()) < fewest:
                best, fewest = [list(floor) for floor in self.floors], crossings
        self.floors = best

    def _swap(self) -> None:
        """Swaps neighbours as long as that saves a crossing."""
        at = {place: index for floor in self.floors for index, place in enumerate(floor)}
        better = True
        while better:
            better = False
            for floor in self.floors:
                for index, (left, right) in enumerate(pairwise(list(floor))):
                    if floor[index] is left and self._saves(at, left, right):
                        floor[index], floor[index + 1] = right, left
                        at[left], at[right] = index + 1, index
                        better = True

    def _saves(self, at: dict[Place, int], left: Place, right: Place) -> bool:
        """Whether fewer arrows cross after two neighbours are swapped."""
        gain = 0
        for linked in (self._above, self._below):
            for one in linked[left]:
                for other in linked[right]:
                    gain += (at[one] > at[other]) - (at[one] < at[other])
        return gain > 0

    def crossings(self) -> int:
        """Returns how many pairs of arrows cross."""
        found = 0
        for floor, below in pairwise(self.floors):
            at = {place: index for index, place in enumerate(below)}
            ends = [sorted(at[other] for other in self._below[place]) for place in floor]
            for left, right in combinations(ends, 2):
                found += sum(other < end for end in left for other in right)
        return found

    # The places in that order.

    def place(self, left: float, right: float) -> None:
        """Gives each place its ``x``, with all boxes between ``left`` and ``right``."""
        self.x = {place: (left + right) / 2 for floor in self.floors for place in floor}
        for _ in range(400):
            for floor in self.floors:
                wanted = [self._wanted(place) for place in floor]
                settled = _settled(floor, wanted, left, right)
                self.x.update(zip(floor, settled, strict=True))
            for route in self.routes.values():
                self._straighten(route[1:-1])

        edges = [(x - _half(place), x + _half(place)) for place, x in self.x.items()]
        slack = left - min(edge for edge, _ in edges) + right - max(edge for _, edge in edges)
        self.x = {place: x + slack / 2 for place, x in self.x.items()}

    def length(self) -> float:
        """Returns how far the arrows lead to the side, in total."""
        return sum(
            abs(self.x[upper] - self.x[lower])
            for route in self.routes.values()
            for upper, lower in pairwise(route)
        )

    def _wanted(self, place: Place) -> float:
        """Returns the middle of the linked places; lanes pull each other most."""
        linked = self._above[place] + self._below[place]
        if not linked:
            return self.x[place]
        weights = [PULL if _is_lane(place) and _is_lane(other) else 1 for other in linked]
        pulled = sum(weight * self.x[other] for weight, other in zip(weights, linked, strict=True))
        return pulled / sum(weights)

    def _straighten(self, lanes: list[Place]) -> None:
        """Puts the lanes of one arrow below each other, if there is room."""
        lowest, highest = -inf, inf
        for lane in lanes:
            floor = next(floor for floor in self.floors if lane in floor)
            at = floor.index(lane)
            for other in floor[max(at - 1, 0) : at]:
                lowest = max(lowest, self.x[other] + _apart(other, lane))
            for other in floor[at + 1 : at + 2]:
                highest = min(highest, self.x[other] - _apart(lane, other))
        if lanes and lowest <= highest:
            middle = min(max(fmean(self.x[lane] for lane in lanes), lowest), highest)
            self.x.update(dict.fromkeys(lanes, middle))


def lay_out(house: House, left: float, right: float) -> Layout:
    """Returns the places of the rooms and arrows, between ``left`` and ``right``."""
    level = {room: index for index, floor in enumerate(house.floors) for room in floor}
    floors: list[list[Place]] = [list(floor) for floor in house.floors]
    routes: dict[Arrow, list[Place]] = {}
    for arrow in house.arrows():
        importer, room = arrow
        passed = range(level[importer] + 1, level[room])
        routes[arrow] = [importer, *((arrow, index) for index in passed), room]
        for index in passed:
            floors[index].append((arrow, index))

    # From many initial orders, always the same ones: the fewest crossings, then the shortest
    # arrows.
    shuffled = random.Random(1)  # noqa: S311  no secret
    found = []
    for _ in range(60):
        layout = Layout(
            [sorted(floor, key=lambda _: shuffled.random()) for floor in floors], routes
        )
        layout.sort()
        found.append(layout)
    fewest = min(layout.crossings() for layout in found)
    best = [layout for layout in found if layout.crossings() == fewest][:8]
    for layout in best:
        layout.place(left, right)
    return min(best, key=lambda layout: round(layout.length(), 3))


def _is_lane(place: Place) -> bool:
    return not isinstance(place, str)


def _half(place: Place) -> float:
    return 0 if _is_lane(place) else BOX / 2


def _apart(left: Place, right: Place) -> float:
    """Returns the least distance between the middles of two neighbours."""
    between = LANE if _is_lane(left) or _is_lane(right) else GAP
    return _half(left) + between + _half(right)


def _sweep(floors: list[list[Place]], linked: dict[Place, list[Place]]) -> None:
    """Moves each place to the middle of its links on the floor before."""
    for before, floor in pairwise(floors):
        at = {place: index / len(before) for index, place in enumerate(before)}
        own = {place: index / len(floor) for index, place in enumerate(floor)}
        wanted = {
            place: fmean([at[other] for other in linked[place]] or [own[place]]) for place in floor
        }
        floor.sort(key=wanted.__getitem__)


def _settled(floor: list[Place], wanted: list[float], left: float, right: float) -> list[float]:
    """Returns places as near to the wanted ones as their neighbours and the page allow."""
    offsets = [0.0]
    for place, following in pairwise(floor):
        offsets.append(offsets[-1] + _apart(place, following))
    lowest = left + _half(floor[0])
    highest = right - _half(floor[-1]) - offsets[-1]

    # Without the distances between them, neighbours only have to stay in order. Boxes yield to
    # lanes, which should be straight.
    targets = [target - offset for target, offset in zip(wanted, offsets, strict=True)]
    weights = [PULL if _is_lane(place) else 1 for place in floor]
    return [
        min(max(target, lowest), highest) + offset
        for target, offset in zip(_rising(targets, weights), offsets, strict=True)
    ]


def _rising(targets: Sequence[float], weights: Sequence[float]) -> list[float]:
    """Returns the ascending numbers nearest to the targets: descending neighbours are pooled."""
    pools: list[tuple[float, float, int]] = []
    for target, weight in zip(targets, weights, strict=True):
        pools.append((target, weight, 1))
        while len(pools) > 1 and pools[-2][0] >= pools[-1][0]:
            (one, light, few), (other, heavy, more) = pools.pop(-2), pools.pop()
            middle = (one * light + other * heavy) / (light + heavy)
            pools.append((middle, light + heavy, few + more))
    return [middle for middle, _, count in pools for _ in range(count)]
