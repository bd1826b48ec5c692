"""The targets, and how far they were reached."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

__all__ = ["Aim", "judged"]


class Aim(NamedTuple):
    """``found`` and ``wanted`` are numbers of the same quantity, in ``unit``."""

    database: str
    text: str
    found: float
    wanted: float
    unit: str = " times"
    most: bool = True
    """Whether less is better; otherwise more is."""

    @property
    def reached(self) -> bool:
        """Whether the aim was met."""
        return self.found <= self.wanted if self.most else self.found >= self.wanted

    @property
    def verdict(self) -> str:
        """How far it was reached, or missed."""
        if self.reached:
            return "reached"
        if not self.wanted:
            return "missed"
        missing = self.found / self.wanted if self.most else self.wanted / self.found
        return f"missed by a factor of {missing:.2f}"


def judged(aims: Iterable[Aim]) -> list[str]:
    """A table of the targets, as blocks of Markdown; the databases of one target are side by
    side.
    """
    aims = list(aims)
    places = {text: number for number, text in enumerate(dict.fromkeys(aim.text for aim in aims))}
    lines = ["| what | database | found | aim | |", "|---|---|---:|---:|---|"]
    for aim in sorted(aims, key=lambda aim: places[aim.text]):
        sign = "≤" if aim.most else "≥"
        found, wanted = _number(aim.found), _number(aim.wanted)
        lines.append(
            f"| {aim.text} | {aim.database} | {found}{aim.unit} | {sign} {wanted}{aim.unit} "
            f"| {aim.verdict} |"
        )
    return ["## Aims", "\n".join(lines)]


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
