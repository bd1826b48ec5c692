"""The picture of the rooms, as SVG in the colors of the reader's page."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from .layout import BOX, Layout, lay_out
from .rooms import Arrow, House

__all__ = ["draw"]

WIDTH, MARGIN, HEAD = 860, 24, 86
HEIGHT, STOREY = 44, 82
"""The height of a box, and of a floor with its gap."""

LEGEND = "An arrow leads from a room to one that it imports; what follows from others is left out"
LIGHT = ("#3b76c4", "#b9611b", "#1f8a73", "#8a52a6", "#b3425f", "#6e7781")
DARK = ("#6ea8f0", "#f0a95b", "#56c7ae", "#c79be0", "#f08aa3", "#8b949e")
STYLE = """\
svg { font: 13px system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', sans-serif; }
text { fill: #57606a; }
.page { fill: #ffffff; stroke: #d0d7de; }
.title { font-size: 17px; font-weight: 600; fill: #1f2328; }
.floor { fill: #f6f8fa; }
.room { fill: #ffffff; stroke-width: 1.5; }
.name { font-weight: 600; fill: #1f2328; text-anchor: middle; }
.does { font-size: 11px; text-anchor: middle; }
.arrow { fill: none; stroke-width: 1.5; }
"""
STYLE_DARK = """\
text { fill: #9aa4af; }
.page { fill: #0d1117; stroke: #30363d; }
.title, .name { fill: #e6edf3; }
.floor { fill: #151b23; }
.room { fill: #0d1117; }
"""


def draw(house: House, title: str, does: dict[str, str]) -> str:
    """Returns the picture: a box for each room, with its purpose, and the arrows between them."""
    layout = lay_out(house, MARGIN, WIDTH - MARGIN)
    floor_of = {room: index for index, floor in enumerate(house.floors) for room in floor}
    height = HEAD + STOREY * (len(house.floors) - 1) + HEIGHT + MARGIN

    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
        f"<title>{escape(title)}</title>",
        "<style>",
        STYLE + _hues(LIGHT) + "@media (prefers-color-scheme: dark) {",
        STYLE_DARK + _hues(DARK) + "}",
        "</style>",
        *(_arrowhead(number) for number in range(len(LIGHT))),
        f'<rect class="page" x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="8"/>',
        f'<text class="title" x="{MARGIN}" y="36">{escape(title)}</text>',
        f'<text x="{MARGIN}" y="58">{LEGEND}</text>',
    ]

    # Floors are behind arrows, and arrows behind boxes.
    for index in range(len(house.floors)):
        y, wide = _top(index) - 9, WIDTH - MARGIN
        lines.append(
            f'<rect class="floor" x="{MARGIN / 2:.0f}" y="{y}" width="{wide}"'
            f' height="{HEIGHT + 18}" rx="6"/>'
        )
    lines += _arrows(layout, floor_of)
    for room, floor in floor_of.items():
        lines += _box(room, does[room], layout.x[room], floor)
    return "\n".join([*lines, "</svg>", ""])


def _top(floor: int) -> int:
    return HEAD + STOREY * floor


def _hues(colours: tuple[str, ...]) -> str:
    """Returns the style of each floor's boxes and arrows."""
    return "".join(
        f".hue{number} {{ stroke: {colour}; }} .head{number} {{ fill: {colour}; }}\n"
        for number, colour in enumerate(colours)
    )


def _arrowhead(number: int) -> str:
    return (
        f'<marker id="head{number}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8"'
        ' markerHeight="8" markerUnits="userSpaceOnUse" orient="auto">'
        f'<path class="head{number}" d="M0 0.5 L8 4 L0 7.5 z"/></marker>'
    )


def _box(room: str, does: str, x: float, floor: int) -> Iterator[str]:
    y = _top(floor)
    yield (
        f'<rect class="room hue{floor % len(LIGHT)}" x="{x - BOX / 2:.1f}" y="{y}"'
        f' width="{BOX:.0f}" height="{HEIGHT}" rx="6"/>'
    )
    yield f'<text class="name" x="{x:.1f}" y="{y + 19}">{escape(room)}</text>'
    yield f'<text class="does" x="{x:.1f}" y="{y + 35}">{escape(does)}</text>'


def _arrows(layout: Layout, floor_of: dict[str, int]) -> Iterator[str]:
    """Yields the arrows: straight through the floors that they pass, and curved between floors."""
    leaves = _spread(
        layout, {arrow: (arrow[0], route[1]) for arrow, route in layout.routes.items()}
    )
    meets = _spread(
        layout, {arrow: (arrow[1], route[-2]) for arrow, route in layout.routes.items()}
    )
    for arrow, (_, *lanes, _) in layout.routes.items():
        importer, room = arrow
        x, floor = leaves[arrow], floor_of[importer]
        path = f"M{x:.1f} {_top(floor) + HEIGHT}"
        for goal in [*(layout.x[lane] for lane in lanes), meets[arrow]]:
            upper, lower = _top(floor) + HEIGHT, _top(floor + 1)
            middle = (upper + lower) // 2
            path += f" C{x:.1f} {middle} {goal:.1f} {middle} {goal:.1f} {lower}"
            x, floor = goal, floor + 1
            if floor < floor_of[room]:
                path += f" V{lower + HEIGHT}"
        hue = floor_of[importer] % len(LIGHT)
        yield f'<path class="arrow hue{hue}" d="{path}" marker-end="url(#head{hue})"/>'


def _spread(
    layout: Layout, ends: dict[Arrow, tuple[str, str | tuple[Arrow, int]]]
) -> dict[Arrow, float]:
    """Returns where arrows touch their boxes: side by side, in the order of their other ends."""
    touching: dict[str, list[tuple[float, Arrow]]] = {}
    for arrow, (room, following) in ends.items():
        touching.setdefault(room, []).append((layout.x[following], arrow))

    found = {}
    for room, arrows in touching.items():
        step = min(22.0, (BOX - 28) / max(len(arrows) - 1, 1))
        leftmost = layout.x[room] - step * (len(arrows) - 1) / 2
        for index, (_, arrow) in enumerate(sorted(arrows)):
            found[arrow] = leftmost + step * index
    return found
