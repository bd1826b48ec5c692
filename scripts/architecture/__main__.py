"""Draws the pictures of docs/architecture.md, or says which of them is not true any more."""

from __future__ import annotations

import sys

from .picture import draw
from .rooms import CHECKOUT, read_house

HOUSE = {
    "apps": "wires Django",
    "urls": "paths of REST",
    "routing": "paths of websockets",
    "admin": "pages for people",
    "rest": "read-only API",
    "websocket": "live frames",
    "tasks": "Celery",
    "management": "commands",
    "operations": "verbs, audited",
    "policy": "who may see what",
    "testing": "for your tests",
    "checks": "system checks",
    "consumer": "loops and commits",
    "transport": "HTTP",
    "materializer": "messages to rows",
    "feed": "the live log",
    "registry": "types to models",
    "models": "what is stored",
    "databases": "what each is like",
    "conversion": "values to columns",
    "conf": "settings",
    "signals": "after a commit",
    "protocol": "the wire",
    "errors": "what goes wrong",
}
MATERIALIZER = {
    "fold": "where a change goes",
    "typebook": "which types pass",
    "staged": "snapshots, resets",
    "shown": "rows that readers see",
    "parked": "changes that wait",
    "letters": "what was refused",
    "rows": "reads and writes rows",
    "batch": "before a transaction",
    "changes": "what a commit did",
    "plan": "types of one stream",
    "compiled": "once per process",
    "ownership": "whose a table is",
    "prospects": "rows about to go",
}


PICTURES = {
    "rooms.svg": ("durable_state", "The rooms of durable_state", HOUSE),
    "materializer.svg": ("durable_state.materializer", "Inside the materializer", MATERIALIZER),
}


def main() -> None:
    """Writes the pictures; with ``--check`` compares them with those that are there."""
    for name, (package, title, does) in PICTURES.items():
        house = read_house(package)
        if wrong := does.keys() ^ {room for floor in house.floors for room in floor}:
            sys.exit(f"{__file__}: the rooms of {package} are others: {', '.join(sorted(wrong))}")

        path = CHECKOUT / "docs" / name
        picture = draw(house, title, does)
        if "--check" not in sys.argv[1:]:
            path.write_text(picture)
        elif not path.exists() or path.read_text() != picture:
            sys.exit(f"docs/{name} is not what the code imports; draw it: make picture")


if __name__ == "__main__":
    main()
