"""The rooms, their floors, and who imports whom: from the code itself."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

import grimp

__all__ = ["CHECKOUT", "Arrow", "House", "read_house"]

CHECKOUT = Path(__file__).resolve().parent.parent.parent
WIDEST = 5
"""The most rooms on one floor."""

Arrow = tuple[str, str]
"""The importer and the imported room."""


@dataclass(frozen=True)
class House:
    """The rooms of one package, from those that nobody imports down to those that import nobody."""

    floors: list[list[str]]
    imports: set[Arrow]

    def arrows(self) -> list[Arrow]:
        """Returns the imports that do not follow from others: of A→B, B→C and A→C, the first
        two.
        """
        reached: dict[str, set[str]] = {}
        for floor in reversed(self.floors):
            for room in floor:
                imported = self._imported_by(room)
                reached[room] = imported.union(*(reached[other] for other in imported))

        return sorted(
            (importer, room)
            for importer, room in self.imports
            if not any(room in reached[other] for other in self._imported_by(importer))
        )

    def _imported_by(self, importer: str) -> set[str]:
        return {room for other, room in self.imports if other == importer}


def read_house(package: str) -> House:
    """Returns the rooms of a package: their order from its contract, the rest from its code."""
    root, *_ = package.split(".")
    graph = grimp.build_graph(root, exclude_type_checking_imports=True, cache_dir=None)
    floors = _contract(package)
    rooms = {room for floor in floors for room in floor}

    imports = set()
    for module in graph.modules:
        for imported in graph.find_modules_directly_imported_by(module):
            arrow = _room(package, module), _room(package, imported)
            if arrow[0] != arrow[1] and rooms.issuperset(arrow):
                imports.add(arrow)

    return House(_side_by_side(floors, imports), imports)


def _contract(package: str) -> list[list[str]]:
    """Returns the layers that pyproject.toml has for the package's rooms."""
    settings = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
    for contract in settings["tool"]["importlinter"]["contracts"]:
        if contract["type"] == "layers" and package in contract["containers"]:
            return [re.findall(r"\w+", layer) for layer in contract["layers"]]
    raise LookupError(f"pyproject.toml has no contract of layers for {package}")


def _room(package: str, module: str) -> str:
    """Returns a module's room in the package, or nothing if it is outside."""
    inside = module.removeprefix(f"{package}.")
    return inside.split(".")[0] if inside != module else ""


def _side_by_side(layers: list[list[str]], imports: set[Arrow]) -> list[list[str]]:
    """Puts successive layers on one floor if neither imports the other."""
    floors: list[list[str]] = [[]]
    for layer in layers:
        apart = imports.isdisjoint((upper, lower) for upper in floors[-1] for lower in layer)
        if apart and len(floors[-1]) + len(layer) <= WIDEST:
            floors[-1] = [*floors[-1], *layer]
        else:
            floors.append(layer)
    return floors
