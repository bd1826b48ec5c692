"""The pictures of the rooms, and the page that describes them, match the code."""

from __future__ import annotations

import re

import pytest

from scripts.architecture.__main__ import PICTURES
from scripts.architecture.layout import lay_out
from scripts.architecture.rooms import CHECKOUT, House, read_house

PAGE = (CHECKOUT / "docs" / "architecture.md").read_text()


@pytest.mark.parametrize("package", [package for package, _, _ in PICTURES.values()])
def test_each_room_is_described(package: str) -> None:
    """In the first cell of a row, and its modules if the row lists them."""
    described = {}
    for row in re.findall(r"^\|(.*)\|$", PAGE, re.MULTILINE):
        rooms, *_, modules = row.split("|")
        for room in re.findall(r"`(\w+)`", rooms):
            described[room] = set(re.findall(r"`(\w+)`", modules))

    for floor in read_house(package).floors:
        for room in floor:
            assert room in described
            folder = CHECKOUT / package.replace(".", "/") / room
            if package.endswith(".materializer") and folder.is_dir():
                modules = {each.stem for each in folder.glob("*.py")} - {"__init__"}
                modules |= {each.parent.name for each in folder.glob("*/__init__.py")}
                assert described[room] == modules, room


def test_an_arrow_that_follows_from_others_is_left_out() -> None:
    """The others stay, each of them an import."""
    house = House([["a"], ["b"], ["c"]], {("a", "b"), ("b", "c"), ("a", "c")})
    assert house.arrows() == [("a", "b"), ("b", "c")]


def test_arrows_cross_only_where_they_must() -> None:
    """A layout that can be drawn without a crossing is, with space between the boxes."""
    house = House([["a", "b", "c"], ["d", "e", "f"]], {("a", "f"), ("b", "d"), ("c", "e")})
    layout = lay_out(house, 0, 800)
    assert layout.crossings() == 0
    for floor in layout.floors:
        at = [layout.x[place] for place in floor]
        assert at == sorted(at)
