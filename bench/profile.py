"""Where this product spends its time, room by room, as blocks of Markdown."""

from __future__ import annotations

from typing import NamedTuple

from .stages import SAMPLED, rooms

__all__ = ["Profiled", "tables"]

LEAST = 0.004
"""Rooms with a smaller part of the time are not listed."""


class Profiled(NamedTuple):
    """One run on one database."""

    title: str
    """The title of the run; there is one table for each title."""
    database: str
    times: int
    """The number of events, or commits, by which the seconds are divided."""
    modules: dict[str, float]
    """Seconds by module."""
    cpu: float
    """Seconds of the process's CPU."""
    wall: float | None = None
    """Wall-clock seconds, if it was busy all the time."""


def tables(runs: list[Profiled]) -> list[str]:
    """A table for each title, with a column for each database."""
    blocks = [SAMPLED]
    for title in dict.fromkeys(run.title for run in runs):
        blocks.append(_table([run for run in runs if run.title == title]))
    return blocks


def _table(runs: list[Profiled]) -> str:
    found = [rooms(run.modules) for run in runs]
    least = LEAST * max(sum(run.modules.values()) for run in runs)
    heaviest = {
        room: max(each.get(room, NOTHING)[0] for each in found)
        for room in dict.fromkeys(room for each in found for room in each)
    }
    lines = [
        f"| {runs[0].title} | {' | '.join(run.database for run in runs)} |",
        f"|---|{'---:|' * len(runs)}",
    ]
    for room, seconds in sorted(heaviest.items(), key=lambda item: -item[1]):
        if seconds >= least:
            cells = [
                _cell(run, *each.get(room, NOTHING)[:2])
                for run, each in zip(runs, found, strict=True)
            ]
            lines.append(f"| `{room}` | {' | '.join(cells)} |")

    totals = [
        [sum(times) for times in zip(*each.values(), strict=True)] or list(NOTHING)
        for each in found
    ]
    whole = [_cell(run, *total[:2]) for run, total in zip(runs, totals, strict=True)]
    orm = [_cell(run, total[2]) for run, total in zip(runs, totals, strict=True)]
    lines.append(f"| all | {' | '.join(whole)} |")
    lines.append(f"| of it in Django's ORM | {' | '.join(orm)} |")
    lines.append(f"| the process's CPU | {' | '.join(_cell(run, run.cpu) for run in runs)} |")
    clocks = [_cell(run, run.wall) for run in runs if run.wall is not None]
    if len(clocks) == len(runs):
        lines.append(f"| on the clock | {' | '.join(clocks)} |")
    return "\n".join(lines)


NOTHING = (0.0, 0.0, 0.0)


def _cell(run: Profiled, seconds: float, driver: float = 0.0) -> str:
    """Microseconds each; those of the driver are in brackets."""
    spent, waited = 1e6 * seconds / run.times, 1e6 * driver / run.times
    digits = 0 if run.cpu / run.times > 1e-3 else 1
    text = f"{spent:,.{digits}f}"
    return f"{text} ({waited:,.{digits}f})" if waited >= 0.05 else text
