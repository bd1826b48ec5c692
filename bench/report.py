"""What was measured, as Markdown: the best lap of each contestant, and how this product compares with it."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable

from .course import Lap

__all__ = ["best", "markdown"]

TITLES = {
    "durable_state": "**Durable State, end to end**",
    "bulk_create": "`bulk_create(update_conflicts)`, compacted",
    "update_or_create": "`update_or_create`",
    "floor": "floor: decode, fold, raw write of the final rows",
    "decode": "HTTP and msgspec's decoding alone",
}
RECORDINGS = {"mixed": "mixed events", "hot": "updates of 100 keys"}


def best(laps: Iterable[Lap]) -> dict[str, Lap]:
    """The fastest lap by contestant: what disturbs a lap only makes it slower."""
    fastest: dict[str, Lap] = {}
    for lap in sorted(laps, key=lambda lap: -lap.rate):
        fastest.setdefault(lap.contestant, lap)
    return fastest


def markdown(laps: list[Lap]) -> str:
    """A table for each database; ``ratio`` is how many times as many events a second this product does."""
    machine = f"Python {platform.python_version()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    lines = ["# Benchmark", "", f"Best of the rounds; CPU and memory are the client process's. {machine}.", ""]
    for database, recording in dict.fromkeys((lap.database, lap.recording) for lap in laps):
        fastest = best(lap for lap in laps if (lap.database, lap.recording) == (database, recording))
        ours = fastest["durable_state"]
        lines += [f"## {database}, {RECORDINGS[recording]}", ""]
        lines += [
            "| | events | events/s | seconds | CPU seconds | peak MB | ratio |",
            "|---|---:|---:|---:|---:|---:|---:|",
        ]
        for contestant, lap in fastest.items():
            lines.append(
                f"| {TITLES[contestant]} | {lap.events:,} | {lap.rate:,.0f} | {lap.wall:.2f} | {lap.cpu:.2f} "
                f"| {lap.peak_mb:.0f} | {ours.rate / lap.rate:.2f} |"
            )
        lines.append("")
    return "\n".join(lines)
