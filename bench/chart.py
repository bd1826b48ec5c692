"""Throughput by batch size and database, as an SVG picture."""

from __future__ import annotations

from html import escape

from .course import Lap

__all__ = ["chart"]

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 720, 360, 70, 50, 40
COLOURS = ["#0b6e4f", "#c8553d", "#3d5a80", "#8f5d9c"]


def chart(laps: list[Lap]) -> str:
    """A group of bars for each batch size, a bar for each database; the best lap of each."""
    rates: dict[tuple[int, str], float] = {}
    for lap in laps:
        place = lap.batch, lap.database
        rates[place] = max(rates.get(place, 0.0), lap.rate)
    sizes = sorted({batch for batch, _ in rates})
    databases = list(dict.fromkeys(lap.database for lap in laps))
    most = max(rates.values())
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="13">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT}" y="20">events a second, by events in one transaction</text>',
    ]
    for tenth in range(0, 11, 2):
        y = _height(most * tenth / 10, most)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - 10}" y1="{y:.0f}" y2="{y:.0f}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.0f}" text-anchor="end">{most * tenth / 10:,.0f}</text>')
    group = (WIDTH - LEFT - 10) / len(sizes)
    bar = group * 0.8 / len(databases)
    for column, size in enumerate(sizes):
        x = LEFT + column * group + group * 0.1
        parts.append(f'<text x="{x + group * 0.4:.0f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{size:,}</text>')
        for number, database in enumerate(databases):
            y = _height(rates[size, database], most)
            parts.append(
                f'<rect x="{x + number * bar:.1f}" y="{y:.1f}" width="{bar - 2:.1f}" height="{HEIGHT - BOTTOM - y:.1f}" '
                f'fill="{COLOURS[number]}"><title>{rates[size, database]:,.0f}</title></rect>'
            )
    for number, database in enumerate(databases):
        x = LEFT + number * 140
        parts.append(f'<rect x="{x}" y="{HEIGHT - 20}" width="12" height="12" fill="{COLOURS[number]}"/>')
        parts.append(f'<text x="{x + 18}" y="{HEIGHT - 9}">{escape(database)}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _height(rate: float, most: float) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * rate / most
