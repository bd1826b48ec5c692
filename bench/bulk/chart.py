"""Throughput by batch size and database, as an SVG picture that is legible on light and on dark pages."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from .laps import Lap

__all__ = ["chart"]

WIDTH, HEIGHT = 860, 430
LEFT, RIGHT, TOP, BOTTOM = 76, 24, 102, 66
"""Margins of the plot."""
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"

# The picture brings its own background, so that it does not depend on the page's; which of the two, the viewer's preference says.
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
.bar0 {{ fill: #3b76c4; }} .bar1 {{ fill: #e08a2e; }} .bar2 {{ fill: #2a9d84; }} .bar3 {{ fill: #9a63b5; }}
@media (prefers-color-scheme: dark) {{
text {{ fill: #9aa4af; }}
.page {{ fill: #0d1117; stroke: #30363d; }}
.line {{ stroke: #262c34; }}
.base {{ stroke: #6e7681; }}
.title, .strong, .value {{ fill: #e6edf3; }}
.default {{ fill: #171d26; }}
.bar0 {{ fill: #6ea8f0; }} .bar1 {{ fill: #f0a95b; }} .bar2 {{ fill: #56c7ae; }} .bar3 {{ fill: #c79be0; }}
}}
"""

Size = int | None
"""Events in one transaction at most; None: as the product decides."""


def chart(laps: Iterable[Lap]) -> str:
    """A group of bars for each batch size, a bar for each database: the best lap of each."""
    laps = list(laps)
    rates: dict[tuple[Size, str], float] = {}
    for lap in laps:
        place = lap.batch, lap.database
        rates[place] = max(rates.get(place, 0.0), lap.rate)
    # The default last.
    sizes = sorted({size for size, _ in rates}, key=lambda size: (size is None, size or 0))
    databases = list(dict.fromkeys(lap.database for lap in laps))
    step = _step(max(rates.values()))
    top = step * (max(rates.values()) // step + 1)
    events = max(lap.events for lap in laps)
    title = "Catching up, by batch size"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{title}">',
        f"<title>{title}: events a second on {escape(', '.join(databases))}</title>",
        f"<style>{STYLE}</style>",
        f'<rect class="page" x="0.5" y="0.5" width="{WIDTH - 1}" height="{HEIGHT - 1}" rx="8"/>',
        f'<text class="title" x="24" y="36">{title}</text>',
        f'<text x="24" y="58">{events:,} mixed events, from the first byte of the answer to the last commit</text>',
        *_legend(databases),
        *_shade(sizes),
        *_axis(step, top),
        *_columns(sizes, databases, rates, top),
    ]
    return "\n".join([*parts, "</svg>", ""])


def _legend(databases: list[str]) -> list[str]:
    parts, x = [], WIDTH - RIGHT - 124 * len(databases)
    for number, database in enumerate(databases):
        parts.append(
            f'<rect class="bar{number}" x="{x + 124 * number}" y="25" width="13" height="13" rx="3"/>'
        )
        parts.append(
            f'<text class="strong" x="{x + 124 * number + 20}" y="36">{escape(database)}</text>'
        )
    return parts


def _shade(sizes: list[Size]) -> list[str]:
    """Behind the last group, where it is the default's."""
    if sizes[-1] is not None:
        return []
    group = (WIDTH - LEFT - RIGHT) / len(sizes)
    place = f'x="{WIDTH - RIGHT - group + 2:.1f}" y="{TOP - 8}" width="{group - 2:.1f}" height="{HEIGHT - BOTTOM - TOP + 38}"'
    return [f'<rect class="default" {place} rx="6"/>']


def _columns(
    sizes: list[Size], databases: list[str], rates: dict[tuple[Size, str], float], top: float
) -> list[str]:
    parts = []
    group = (WIDTH - LEFT - RIGHT) / len(sizes)
    bar = min(group * 0.84 / len(databases), 64)
    base = HEIGHT - BOTTOM
    for column, size in enumerate(sizes):
        middle = LEFT + (column + 0.5) * group
        label, kind = ("default", ' class="strong"') if size is None else (f"{size:,}", "")
        parts.append(
            f'<text{kind} x="{middle:.1f}" y="{base + 20}" text-anchor="middle">{label}</text>'
        )
        for number, database in enumerate(databases):
            rate = rates.get((size, database))
            if rate is None:
                continue
            x, y = middle + (number - len(databases) / 2) * bar, _height(rate, top)
            parts.append(
                f'<rect class="bar{number}" x="{x + 1:.1f}" y="{y:.1f}" width="{bar - 2:.1f}" height="{base - y:.1f}" rx="2">'
                f"<title>{escape(database)}: {rate:,.0f} events a second</title></rect>"
            )
            parts.append(
                f'<text class="value" x="{x + bar / 2:.1f}" y="{y - 5:.1f}" text-anchor="middle">{rate / 1000:.1f}k</text>'
            )
    return parts


def _axis(step: float, top: float) -> list[str]:
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
    parts.append(
        f'<text x="{middle:.0f}" y="{HEIGHT - 16}" text-anchor="middle">events in one transaction at most (BATCH_ROWS); default: as the product decides</text>'
    )
    return parts


def _step(most: float) -> float:
    """A round distance between lines, of which there are four to eight."""
    for step in (500, 1_000, 2_000, 2_500, 5_000, 10_000, 20_000, 25_000, 50_000):
        if most / step <= 7:
            return step
    return 100_000


def _height(rate: float, top: float) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * rate / top
