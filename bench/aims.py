"""What was aimed at, and how far it was reached."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from statistics import median
from typing import NamedTuple

from .course import Lap

__all__ = ["Aim", "aims", "ratios"]

MEMORY_MB = 256.0


class Aim(NamedTuple):
    """``found`` and ``wanted`` are numbers of the same thing; ``most`` says that the less, the better."""

    database: str
    text: str
    found: float
    wanted: float
    unit: str = " times"
    most: bool = False

    @property
    def reached(self) -> bool:
        """Whether the aim was met."""
        return self.found <= self.wanted if self.most else self.found >= self.wanted

    @property
    def verdict(self) -> str:
        """Reached, or missed by how much."""
        if self.reached:
            return "reached"
        missing = self.found / self.wanted if self.most else self.wanted / self.found
        return f"missed by a factor of {missing:.2f}"


MIXED = [
    ("PostgreSQL", "bulk_create", 4.0),
    ("SQLite", "bulk_create", 6.0),
    ("MariaDB", "bulk_create", 3.0),
    ("MySQL", "bulk_create", 3.0),
]


def ratios(laps: Iterable[Lap], contestant: str, measure: str) -> list[float]:
    """Round by round, how many times the other contestant's seconds (``wall`` or ``cpu``) an event are those of this product."""
    by_number: dict[int, dict[str, float]] = {}
    for lap in laps:
        by_number.setdefault(lap.number, {})[lap.contestant] = getattr(lap, measure) / lap.events
    return [
        each[contestant] / each["durable_state"]
        for each in by_number.values()
        if contestant in each and each.get("durable_state")
    ]


def aims(laps: Iterable[Lap]) -> Iterator[Aim]:
    """Each aim for which there are laps; ratios are the median of the rounds'."""
    laps = list(laps)
    for database in dict.fromkeys(lap.database for lap in laps):
        here = [lap for lap in laps if lap.database == database]
        mixed = [lap for lap in here if (lap.recording, lap.server) == ("mixed", "static")]
        for name, contestant, wanted in MIXED:
            if name == database and (found := ratios(mixed, contestant, "wall")):
                yield Aim(
                    database,
                    f"at least {wanted:g} times `{contestant}(update_conflicts)`",
                    median(found),
                    wanted,
                )
        if database == "PostgreSQL" and (found := ratios(mixed, "floor", "wall")):
            text = "at most twice the time of raw COPY of the final rows plus decoding"
            yield Aim(database, text, 1 / median(found), 2.0, most=True)
        for server in ("static", "reference"):
            there = [lap for lap in here if (lap.recording, lap.server) == ("mixed", server)]
            if found := ratios(there, "streamdb", "wall"):
                text = f"at least 1.2 times StreamDB, both from the {server} server"
                yield Aim(database, text, median(found), 1.2)
        if found := ratios([lap for lap in here if lap.recording == "hot"], "decode", "wall"):
            yield Aim(
                database,
                "updates of 100 keys: at least half the speed of decoding",
                median(found),
                0.5,
            )
        peak = max(lap.peak_mb for lap in here if lap.contestant == "durable_state")
        yield Aim(database, f"below {MEMORY_MB:g} MB", peak, MEMORY_MB, " MB", most=True)
