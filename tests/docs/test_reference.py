"""The reference has everything that the code offers, and nothing else."""

from __future__ import annotations

import argparse
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

import durable_state
from durable_state import errors, models, operations
from durable_state.conf import load
from durable_state.management.commands.durable_state import Command
from durable_state.operations import Shown
from durable_state.protocol import Malformed

from .support.pages import CHECKOUT, pages

DOCS = CHECKOUT / "docs"
REFERENCE = DOCS / "reference"
PACKAGE = Path(durable_state.__file__).parent


def rows(page: Path) -> Iterator[list[str]]:
    """The cells of the page's tables."""
    for line in page.read_text().splitlines():
        if line.startswith("| "):
            yield [cell.strip() for cell in line.strip("|").split(" | ")]


def named(page: Path, heading: str = "") -> set[str]:
    """The backquoted names in the first cells of the page's tables, or of those under one
    heading.
    """
    text = page.read_text()
    if heading:
        text = text[text.index(f"\n{heading}\n") + len(heading) + 2 :]
        text = text[: found.start()] if (found := re.search(r"^## ", text, re.MULTILINE)) else text
    cells = [line.strip("|").split(" | ")[0] for line in text.splitlines() if line.startswith("| ")]
    return {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}


def test_settings_are_documented_with_their_defaults() -> None:
    """docs/reference/settings.md has each key once, with its actual default."""
    documented = {}
    for cells in rows(REFERENCE / "settings.md"):
        if cells[0].startswith("`"):
            assert cells[0] not in documented
            documented[cells[0].strip("`")] = cells[1].strip("`")
    found = {
        key: "None" if value is None else value
        for key, value in msgspec.to_builtins(load({})).items()
    }
    assert documented == {
        key: f'"{value}"' if isinstance(value, str) and value != "None" else str(value)
        for key, value in found.items()
    }


def _verbs() -> dict[str, argparse.ArgumentParser]:
    parser = Command().create_parser("manage.py", "durable_state")
    (choices,) = [
        action.choices
        for action in parser._actions
        if isinstance(action, argparse._SubParsersAction)
    ]
    return dict(choices)


def test_verbs_and_options_are_documented() -> None:
    """docs/reference/commands.md has every verb and every option, and no others."""
    text = (REFERENCE / "commands.md").read_text()
    headings = re.findall(r"^### (.*)$", text, re.MULTILINE)
    assert {verb for heading in headings for verb in re.findall(r"`([a-z-]+)", heading)} == set(
        _verbs()
    )
    for verb, parser in _verbs().items():
        section = next(
            part for part in text.split("\n### ") if re.search(rf"`{verb}\b", part.splitlines()[0])
        )
        options = {
            option
            for action in parser._actions
            for option in action.option_strings
            if action.help is not argparse.SUPPRESS and option not in ("-h", "--help")
        }
        everywhere = {"--database", "--no-input", "--noinput"}
        shown = set(re.findall(r"`(--[a-z-]+)", section)) | set(
            re.findall(r" (--[a-z-]+) [A-Z]+`", section)
        )
        assert shown - everywhere <= options, verb
        assert options - everywhere <= shown, verb
    assert {"--database", "--no-input", "--noinput"} <= set(re.findall(r"--[a-z-]+", text))


def test_commands_in_pages_exist() -> None:
    """Verbs and options that a page writes exist."""
    verbs = _verbs()
    for page in pages():
        for verb, rest in re.findall(r"durable_state ([a-z][a-z-]+)([^\n`;&|]*)", page.read_text()):
            if page.name == "CHANGELOG.md" or verb == "import":
                continue
            assert verb in verbs, f"{page.name}: durable_state {verb}"
            known = {option for action in verbs[verb]._actions for option in action.option_strings}
            assert set(re.findall(r"(?<!\S)--[a-z-]+", rest)) <= known, (
                f"{page.name}: durable_state {verb}{rest}"
            )


def test_check_numbers_are_documented() -> None:
    """docs/reference/checks.md has every number that the code uses, and no others."""
    text = "\n".join(module.read_text() for module in (PACKAGE / "checks").glob("*.py"))
    given = set(re.findall(r'id="durable_state\.([EW][0-9]{3})"', text))
    for call, letter in (("fault", "E"), ("warning", "W")):
        given |= {
            f"{letter}{int(number):03}"
            for number in re.findall(rf"\b{call}\(\s*[a-z_.]+,\s*([0-9]+)", text)
        }
    listed = [
        cells[0]
        for cells in rows(REFERENCE / "checks.md")
        if re.fullmatch("[EW][0-9]{3}", cells[0])
    ]
    assert len(listed) == len(set(listed))
    assert set(listed) == given
    for page in pages():
        assert set(re.findall(r"\b[EW][0-9]{3}\b", page.read_text())) <= given, page.name


def test_dead_letter_reasons_are_documented() -> None:
    """docs/reference/dead-letters.md has every reason code that the code uses, and no others."""
    rooms = ("conversion", "databases", "materializer", "consumer")
    modules = [module for room in rooms for module in (PACKAGE / room).rglob("*.py")]
    text = "\n".join(module.read_text() for module in modules)
    given = (
        set(re.findall(r'Refused\(\s*"([a-z-]+)"', text))
        | set(re.findall(r'return "([a-z]+)"', (PACKAGE / "databases/faults.py").read_text()))
        | {"data"}
    )
    given |= set(re.findall(r"``([a-z]+-[a-z-]+)``", inspect.getdoc(Malformed) or ""))
    given |= set(re.findall(r'code="([a-z-]+)"', (PACKAGE / "registry" / "mapping.py").read_text()))
    listed = named(REFERENCE / "dead-letters.md", "## Reasons") - {"ValidationError"}
    assert listed == given


def test_errors_are_documented() -> None:
    """docs/reference/python.md has every error."""
    assert named(REFERENCE / "python.md", "## Errors") == set(errors.__all__) - {
        "DurableStateError"
    }


def test_models_fields_and_statuses_are_documented() -> None:
    """docs/reference/models.md has every model, status and counter; what it says about Stream
    exists.
    """
    page = REFERENCE / "models.md"
    classes = {
        name for name in models.__all__ if isinstance(getattr(models, name), type(models.Stream))
    }
    assert named(page, "## The others") == classes - {"Stream", "Progress"}
    assert {status.value for status in models.Status} == named(page, "## Statuses")
    assert {status.value for status in Shown} == named(page, "## Shown statuses")
    assert not {status.value for status in Shown} & {status.value for status in models.Status}
    fields = {field.name for field in models.Stream._meta.get_fields()}
    assert named(page, "## Counters") == {name for name in fields if name.endswith("_count")}
    assert named(page, "## Stream") <= fields


def test_the_runbook_knows_every_status() -> None:
    """docs/how-to/runbook.md says who acts on each, and what to do if somebody has to."""
    page = (REFERENCE.parent / "how-to" / "runbook.md").read_text()
    table, *chapters = page.split("\n## ")
    statuses = {each.value for each in [*models.Status, *Shown]}
    assert {each for each in re.findall(r"`([a-z-]+)`", table) if each in statuses} == statuses
    headings = " ".join(chapter.partition("\n")[0] for chapter in chapters)
    well = {"live", "closed", "up-to-date", "catching-up", "new"}
    assert set(re.findall(r"`([a-z-]+)`", headings)) == statuses - well


def test_operations_are_documented() -> None:
    """docs/reference/python.md describes the verbs as functions, with their actual signatures."""
    told = {}
    for entry in named(REFERENCE / "python.md", "## Operations"):
        name, _, rest = entry.partition("(")
        told[name] = [part.strip().split("=")[0] for part in rest.rpartition(")")[0].split(",")]
        if "->" in rest:
            told[name] = [part.strip().split("=")[0] for part in rest.split(") ->")[0].split(",")]
    functions = {name: getattr(operations, name) for name in operations.__all__}
    internal = {"needs_reset", "owned_rows"}
    public = {name for name, each in functions.items() if inspect.isfunction(each)} - internal
    assert set(told) == public
    for name, parameters in told.items():
        assert [each for each in parameters if each not in ("*", "")] == list(
            inspect.signature(functions[name]).parameters
        ), name


@pytest.mark.parametrize("name", sorted(set(durable_state.__all__)))
def test_public_names_are_documented(name: str) -> None:
    """Everything that a project imports from ``durable_state`` is in the reference."""
    assert f"`{name}`" in (REFERENCE / "python.md").read_text()


def test_mapping_attributes_are_documented() -> None:
    """docs/reference/mappings.md has every attribute that a mapping may set, and every attribute
    of a change.
    """
    page = REFERENCE / "mappings.md"
    attributes = {
        name
        for name, annotation in inspect.get_annotations(durable_state.EntityMapping).items()
        if "ClassVar" in str(annotation)
    }
    assert named(page, "## Attributes") == attributes
    assert named(page, "## Methods") == set(durable_state.EntityChange.__struct_fields__)
