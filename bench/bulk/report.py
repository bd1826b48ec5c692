"""The bulk measurements as blocks of Markdown."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median

from .aims import MEMORY_MB, ratios
from .contestants import BULK
from .laps import Lap
from .memory import Proof

__all__ = ["best", "comparison", "memory"]

TITLES = {
    "durable_state": "**Durable State**",
    "bulk_create": f"`bulk_create(update_conflicts)`, compacted, {BULK:,} events a batch",
    "update_or_create": "`update_or_create`",
    "floor": "floor: decode, fold in memory, raw write of the final rows",
    "streamdb": "StreamDB (JavaScript, in memory)",
    "decode": "HTTP and msgspec's decoding, nothing written",
}
KINDS = {
    "mixed": "mixed events",
    "hot": "updates of 100 keys",
    "inserts": "inserts",
    "snapshot": "one snapshot",
}
WAYS_TOLD = {"once": "", "reset": "again, by a reset", "killed": "killed"}

COMPARED = (
    "The best lap of each; `times` is the median, over rounds run one after the other, of how many "
    "times as fast Durable State is (below 1: slower), `CPU` the same of CPU seconds. CPU and "
    "memory are those of the contestant's own process: what a PostgreSQL or MariaDB server uses is "
    "not in them."
)
REMEMBERED = (
    "Peak resident memory of the whole consumer process; the rows were compared after each."
)


def best(laps: Iterable[Lap]) -> dict[str, Lap]:
    """The fastest lap of each contestant, because disturbances can only make a lap slower."""
    fastest: dict[str, Lap] = {}
    for lap in sorted(laps, key=lambda lap: -lap.rate):
        fastest.setdefault(lap.contestant, lap)
    return fastest


def comparison(laps: list[Lap]) -> list[str]:
    """One table for each database and recording."""
    blocks = ["## Bulk", COMPARED]
    courses = dict.fromkeys((lap.database, lap.recording, lap.server) for lap in laps)
    for database, recording, server in courses:
        course = database, recording, server
        these = [lap for lap in laps if (lap.database, lap.recording, lap.server) == course]
        source = " from the reference server" if server == "reference" else ""
        blocks.append(f"### {database}, {KINDS[recording]}{source}")
        blocks.append(_compared(these))
    return blocks


def _compared(laps: list[Lap]) -> str:
    lines = [
        "| | events | events/s | seconds | CPU seconds | peak MB | times | CPU |",
        f"|---|{'---:|' * 7}",
    ]
    for contestant, lap in best(laps).items():
        times, cpu = "", ""
        if contestant != "durable_state":
            times = f"{median(ratios(laps, contestant, 'wall')):.2f}"
            cpu = f"{median(ratios(laps, contestant, 'cpu')):.2f}"
        lines.append(
            f"| {TITLES[contestant]} | {lap.events:,} | {lap.rate:,.0f} | {lap.wall:.2f} "
            f"| {lap.cpu:.2f} | {lap.peak_mb:.0f} | {times} | {cpu} |"
        )
    return "\n".join(lines)


def memory(proofs: list[Proof]) -> list[str]:
    """One table of the peak memory of each run."""
    lines = [
        "| | recording | | messages | MB | seconds | CPU | peak MB | |",
        f"|---|---|---|{'---:|' * 5}---|",
    ]
    for proof in proofs:
        killed = "" if proof.killed_at is None else f" at {proof.killed_at:,}"
        reached = max(proof.peaks_mb) < MEMORY_MB
        lines.append(
            f"| {proof.database} | {KINDS[proof.recording]} | {WAYS_TOLD[proof.way]}{killed} "
            f"| {proof.events:,} | {proof.megabytes:.0f} | {proof.wall:.0f} | {proof.cpu:.0f} "
            f"| {', then '.join(f'{peak:.0f}' for peak in proof.peaks_mb)} "
            f"| {'reached' if reached else f'missed: not below {MEMORY_MB:g} MB'} |"
        )
    return [REMEMBERED, "\n".join(lines)]
