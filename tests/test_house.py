"""The layout of the tests: a folder shows behaviours, and shared helpers have their own place."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
ROOMS = sorted(
    each.parent
    for each in TESTS.glob("*/__init__.py")
    if each.parent.name not in ("app", "servers", "typing")  # they hold no tests
)


def imported(file: Path) -> Iterator[str]:
    """The modules that a test file imports, and the names that it takes from them, in full."""
    package = ["tests", *file.relative_to(TESTS).parent.parts]
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*above, *filter(None, [node.module])])
            yield from (f"{module}.{each.name}" for each in node.names)


def test_no_test_is_imported() -> None:
    """Helpers of several files are in ``support``, ``tests/wire.py`` or ``tests/tables.py``;
    nobody imports from tests.
    """
    found = [
        f"{file.relative_to(TESTS)} imports {name}"
        for file in TESTS.rglob("*.py")
        if "node_modules" not in file.parts
        for name in imported(file)
        if name.startswith("tests.")
        if any(part.startswith("test_") or part == "conftest" for part in name.split("."))
    ]
    assert found == []


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.name)
def test_a_room_shows_behaviours_only(room: Path) -> None:
    """Any other Python files are in its ``support``."""
    names = {file.name for file in room.glob("*.py")} - {"__init__.py", "conftest.py"}
    assert [name for name in sorted(names) if not name.startswith("test_")] == []
