"""The records in docs/decisions/ are numbered without gaps, listed, and found where code names
them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from .support.pages import CHECKOUT, pages

DECISIONS = CHECKOUT / "docs" / "decisions"
RECORDS = sorted(DECISIONS.glob("[0-9]*.md"))
NUMBERS = {int(record.name[:4]): record for record in RECORDS}
# How a later record and an earlier one name each other.
PAIRS = {"supersedes": "superseded by", "amends": "amended by"}


def _title(record: Path) -> str:
    return record.read_text().splitlines()[0].partition(". ")[2]


def _standing(record: Path) -> str:
    """Returns the line with a record's date and status."""
    return " ".join(record.read_text().split("\n\n")[1].split())


def _related(record: Path) -> dict[str, set[int]]:
    """Returns the records that a record's status names, by how it is related to them."""
    found: dict[str, set[int]] = {}
    for part in re.split(r"[;,] (?=supersede|amend)", _standing(record)):
        if match := re.match(r"(supersedes|superseded by|amends|amended by) ", part):
            found[match[1]] = {int(number) for number in re.findall(r"\[(\d+)\]", part)}
    return found


def test_records_are_numbered_without_holes() -> None:
    """From 1 on, the same in the file's name and in the title."""
    assert list(NUMBERS) == list(range(1, len(RECORDS) + 1))
    for number, record in NUMBERS.items():
        assert record.read_text().startswith(f"# {number}. "), record.name


def test_records_are_listed() -> None:
    """The README of the folder lists each record, in order, under its title."""
    listed = re.findall(
        r"^\| \[\d{4}\]\((.*)\) \| (.*) \|$", (DECISIONS / "README.md").read_text(), re.MULTILINE
    )
    assert listed == [(record.name, _title(record)) for record in RECORDS]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.stem)
def test_records_tell_what_became_of_them(record: Path) -> None:
    """The status has a date; both records say if a later one replaces or amends an earlier one."""
    number = int(record.name[:4])
    assert re.match(r"\d{4}-\d\d-\d\d, (accepted|superseded by \[)", _standing(record))
    related = _related(record)
    for later, earlier in [*PAIRS.items(), *[(each, way) for way, each in PAIRS.items()]]:
        for other in related.get(later, ()):
            assert number in _related(NUMBERS[other]).get(earlier, ()), f"{number} {later} {other}"

    title = re.search(r" \(superseded by (.*)\)$", _title(record))
    named = {int(each) for each in re.findall(r"\d+", title[1])} if title else set()
    assert named == related.get("superseded by", set())


def _references() -> Iterator[tuple[str, int]]:
    """Yields each place that names a decision by its number, and the number."""
    sources = [
        *(file for room in ("durable_state", "bench", "example_project") for file in _files(room)),
        *pages(),
    ]
    for source in sources:
        text = " ".join(source.read_text().split())
        for numbers in re.findall(r"\b[Dd]ecisions? (\d+(?:(?:, | and )\d+)*)(?![\d-])", text):
            for number in re.findall(r"\d+", numbers):
                yield str(source.relative_to(CHECKOUT)), int(number)


def _files(room: str) -> list[Path]:
    return sorted((CHECKOUT / room).rglob("*.py"))


def test_references_resolve() -> None:
    """Each decision that the code or a page names by its number exists, and is not superseded."""
    for place, number in _references():
        assert number in NUMBERS, f"{place}: decision {number}"
        assert "superseded by" not in _title(NUMBERS[number]), f"{place}: decision {number}"


def test_links_are_numbered_as_their_targets() -> None:
    """The text of a link to a record is a word, or the record's own number."""
    for page in pages():
        for text, number in re.findall(
            r"\[([^\]]*)\]\([^)]*?\b(\d{4})-[a-z0-9-]+\.md\)", page.read_text()
        ):
            if found := re.fullmatch(r"(?:decision )?(\d+)", text):
                assert int(found[1]) == int(number), f"{page.name}: [{text}] names {number}"
