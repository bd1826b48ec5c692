"""Targets for loading a recorded stream into tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from statistics import median

from bench.aims import Aim

from .laps import Lap

__all__ = ["MEMORY_MB", "aims", "ratios"]

MEMORY_MB = 256.0
FLOOR = {"PostgreSQL": 1.5, "SQLite": 1.35, "MariaDB": 1.6, "MySQL": 1.6}
"""At most this many times as long as the floor takes."""
STREAMDB = {"PostgreSQL": 1.25, "SQLite": 1.25, "MariaDB": 1.0, "MySQL": 1.0}
"""At least this many times as fast as StreamDB."""
DECODING = 0.5
"""At least this fraction of the speed of decoding alone, when few keys are updated repeatedly."""


def ratios(laps: Iterable[Lap], contestant: str, measure: str) -> list[float]:
    """For each round, how many times as long per event the contestant takes as Durable State.

    ``measure`` is "wall" or "cpu".
    """
    by_number: dict[int, dict[str, float]] = {}
    for lap in laps:
        by_number.setdefault(lap.number, {})[lap.contestant] = getattr(lap, measure) / lap.events
    return [
        each[contestant] / each["durable_state"]
        for each in by_number.values()
        if contestant in each and each.get("durable_state")
    ]


def aims(laps: list[Lap]) -> Iterator[Aim]:
    """Each aim for which there are laps. A ratio is the median over all rounds."""
    for database in dict.fromkeys(lap.database for lap in laps):
        here = [lap for lap in laps if lap.database == database]
        mixed = [lap for lap in here if (lap.recording, lap.server) == ("mixed", "static")]
        if found := ratios(mixed, "floor", "wall"):
            text = "bulk, mixed events: time against the floor"
            yield Aim(database, text, 1 / median(found), FLOOR[database])

        for server in ("static", "reference"):
            there = [lap for lap in here if (lap.recording, lap.server) == ("mixed", server)]
            if found := ratios(there, "streamdb", "wall"):
                text = "bulk, mixed events: speed against StreamDB in memory"
                text += ", both from the reference server" if server == "reference" else ""
                yield Aim(database, text, median(found), STREAMDB[database], most=False)

        if found := ratios([lap for lap in here if lap.recording == "hot"], "decode", "wall"):
            text = "bulk, updates of 100 keys: speed against decoding alone"
            yield Aim(database, text, median(found), DECODING, most=False)

        peak = max(lap.peak_mb for lap in here if lap.contestant == "durable_state")
        yield Aim(database, "bulk: memory at the peak", peak, MEMORY_MB, " MB")
