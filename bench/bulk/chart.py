"""Events per second by database, as SVG charts that are legible on light and dark pages."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import NamedTuple

from .laps import Lap

__all__ = ["by_batch", "by_contestant"]

WIDTH, HEIGHT = 860, 430
LEFT, RIGHT, TOP, BOTTOM = 76, 24, 102, 66
"""Margins of the plot."""
BASE = HEIGHT - BOTTOM
"""The y coordinate of the bars' lower ends."""
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"

# The chart has its own background instead of relying on the page's, light or dark as the viewer
# prefers.
STYLE = f"""
svg {{ font: 13px {FONT}; }}
text {{ fill: #57606a; }}
.page {{ fill: #ffffff; stroke: #d0d7de; }}
.line {{ stroke: #d8dee4; }}
.base {{ stroke: #8c959f; }}
.title {{ font-size: 17px; font-weight: 600; fill: #1f2328; }}
.strong {{ fill: #1f2328; font-weight: 600; }}
.value {{ font-size: 11px; fill: #1f2328; }}
.default {{ fill: #f3f5f8; }}
.bar0 {{ fill: #3b76c4; }} .bar1 {{ fill: #e08a2e; }} .bar2 {{ fill: #2a9d84; }}
@media (prefers-color-scheme: dark) {{
text {{ fill: #9aa4af; }}
.page {{ fill: #0d1117; stroke: #30363d; }}
.line {{ stroke: #262c34; }}
.base {{ stroke: #6e7681; }}
.title, .strong, .value {{ fill: #e6edf3; }}
.default {{ fill: #171d26; }}
.bar0 {{ fill: #6ea8f0; }} .bar1 {{ fill: #f0a95b; }} .bar2 {{ fill: #56c7ae; }}
}}
"""


class Group(NamedTuple):
    """One bar per database, side by side."""

    label: str
    rates: dict[str, float]
    """Events per second by database."""
    strong: bool = False
    """Whether it is highlighted."""


def by_contestant(laps: Iterable[Lap]) -> str:
    """A group for each way to load mixed events: the best lap on each database."""
    laps = [lap for lap in laps if (lap.recording, lap.server, lap.batch) == ("mixed", *USUAL)]
    groups = [
        Group(label, _best(lap for lap in laps if lap.contestant == name), name == "durable_state")
        for name, label in CONTESTANTS.items()
        if any(lap.contestant == name for lap in laps)
    ]
    return _chart("Catching up, by who does it", "", groups, laps)


def by_batch(laps: Iterable[Lap]) -> str:
    """A group for each batch size of Durable State: the best lap on each database."""
    laps = [
        lap
        for lap in laps
        if (lap.contestant, lap.recording, lap.server) == ("durable_state", "mixed", "static")
    ]
    # The default last.
    sizes = sorted({lap.batch for lap in laps}, key=lambda size: (size is None, size or 0))
    groups = [
        Group(
            "default" if size is None else f"{size:,}",
            _best(lap for lap in laps if lap.batch == size),
            size is None,
        )
        for size in sizes
    ]
    axis = "events in one transaction at most (BATCH_ROWS); default: as the product decides"
    return _chart("Catching up, by batch size", axis, groups, laps)


USUAL = ("static", None)
CONTESTANTS = {
    "bulk_create": "bulk_create",
    "streamdb": "StreamDB, in memory",
    "durable_state": "Durable State",
    "floor": "floor",
}
"""Labels, in the order of the groups. The bars of ``update_or_create`` would be too low to see."""


def _best(laps: Iterable[Lap]) -> dict[str, float]:
    rates: dict[str, float] = {}
    for lap in laps:
        rates[lap.database] = max(rates.get(lap.database, 0.0), lap.rate)
    return rates


def _chart(title: str, axis: str, groups: list[Group], laps: list[Lap]) -> str:
    databases = list(dict.fromkeys(lap.database for lap in laps))
    most = max(rate for group in groups for rate in group.rates.values())
    step = _step(most)
    top = step * (most // step + 1)
    events = max(lap.events for lap in laps)
    told = f"{events:,} mixed events, from the first byte of the answer to the last commit"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}">',
        f"<title>{title}: events a second on {escape(', '.join(databases))}</title>",
        f"<style>{STYLE}</style>",
        f'<rect class="page" x="0.5" y="0.5" width="{WIDTH - 1}" height="{HEIGHT - 1}" rx="8"/>',
        f'<text class="title" x="24" y="36">{title}</text>',
        f'<text x="24" y="58">{told}</text>',
        *_legend(databases),
        *_shades(groups),
        *_axis(step, top, axis),
        *_columns(groups, databases, top),
    ]
    return "\n".join([*parts, "</svg>", ""])


def _legend(databases: list[str]) -> list[str]:
    parts, width = [], 124
    for number, database in enumerate(databases):
        x = WIDTH - RIGHT - width * (len(databases) - number)
        square = f'x="{x}" y="25" width="13" height="13" rx="3"'
        parts.append(f'<rect class="bar{number}" {square}/>')
        parts.append(f'<text class="strong" x="{x + 20}" y="36">{escape(database)}</text>')
    return parts


def _shades(groups: list[Group]) -> list[str]:
    """A background behind each highlighted group."""
    width = (WIDTH - LEFT - RIGHT) / len(groups)
    return [
        f'<rect class="default" x="{LEFT + number * width + 1:.1f}" y="{TOP - 8}" '
        f'width="{width - 2:.1f}" height="{BASE - TOP + 38}" rx="6"/>'
        for number, group in enumerate(groups)
        if group.strong
    ]


def _columns(groups: list[Group], databases: list[str], top: float) -> list[str]:
    parts = []
    width = (WIDTH - LEFT - RIGHT) / len(groups)
    bar = min(width * 0.84 / len(databases), 64)
    for column, group in enumerate(groups):
        middle = LEFT + (column + 0.5) * width
        kind = ' class="strong"' if group.strong else ""
        parts.append(
            f'<text{kind} x="{middle:.1f}" y="{BASE + 20}" text-anchor="middle">'
            f"{escape(group.label)}</text>"
        )
        for number, database in enumerate(databases):
            if rate := group.rates.get(database):
                x = middle + (number - len(databases) / 2) * bar
                parts += _bar(f"bar{number}", database, rate, x, bar, top)
    return parts


def _bar(kind: str, database: str, rate: float, x: float, width: float, top: float) -> list[str]:
    y = _height(rate, top)
    place = f'x="{x + 1:.1f}" y="{y:.1f}" width="{width - 2:.1f}" height="{BASE - y:.1f}" rx="2"'
    told = f"<title>{escape(database)}: {rate:,.0f} events a second</title>"
    above = f'x="{x + width / 2:.1f}" y="{y - 5:.1f}" text-anchor="middle"'
    return [
        f'<rect class="{kind}" {place}>{told}</rect>',
        f'<text class="value" {above}>{rate / 1000:.1f}k</text>',
    ]


def _axis(step: float, top: float, name: str) -> list[str]:
    parts = []
    for number in range(round(top / step) + 1):
        y = _height(number * step, top)
        kind = "line" if number else "base"
        parts.append(
            f'<line class="{kind}" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        )
        parts.append(
            f'<text x="{LEFT - 10}" y="{y + 4.5:.1f}" text-anchor="end">{number * step:,.0f}</text>'
        )
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text x="24" y="{TOP - 18}">events/s</text>')
    parts.append(f'<text x="{middle:.0f}" y="{HEIGHT - 16}" text-anchor="middle">{name}</text>')
    return parts


def _step(most: float) -> float:
    """A round distance between grid lines that gives four to eight of them."""
    for step in (500, 1_000, 2_000, 2_500, 5_000, 10_000, 20_000, 25_000, 50_000):
        if most / step <= 7:
            return step
    return 100_000


def _height(rate: float, top: float) -> float:
    return BASE - (BASE - TOP) * rate / top
