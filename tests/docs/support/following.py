"""Follows one page from top to bottom, as a reader would."""

from __future__ import annotations

import json
import re
from pathlib import Path

from .pages import Step, steps
from .workshop import Workshop

__all__ = ["follow"]


def follow(page: Path, projects: dict[str, Path], folder: Path, *, bare: bool = False) -> str:
    """Does what the page says, to the letter; returns why a part was skipped, if one was.

    With ``bare``, in an environment that has only what the page installs. Raises: AssertionError.
    """
    todo = steps(page)
    with Workshop(folder, page.name, bare=bare) as workshop:
        chosen = next((step.argument for step in todo if step.verb == "project"), "shop")
        workshop.project(projects[chosen])
        for step in todo:
            _perform(workshop, step, f"{page.name}:{step.line}")
        return workshop.unseen


def _perform(workshop: Workshop, step: Step, place: str) -> None:
    match step.verb:
        case "file":
            workshop.write(step.argument, step.text)
        case "append":
            workshop.write(step.argument, step.text, mode="a")
        case "install":
            workshop.install(step.text)
        case "run":
            workshop.shell(step.text)
        case "also run":
            workshop.shell(step.argument)
        case "background":
            workshop.background(step.text)
        case "also background":
            workshop.background(step.argument)
        case "also open":
            workshop.open(*step.argument.split())
        case "also see":
            workshop.see(step.argument)
        case "wait":
            workshop.wait(int(step.argument))
        case "python":
            workshop.python(step.text, step.line)
        case "output":
            _compare(workshop.here(step.text), workshop.printed, place)
        case "json":
            json.loads(step.text)


def _compare(shown: str, printed: str, place: str) -> None:
    wanted = [line.rstrip() for line in shown.strip().splitlines()]
    found = [line.rstrip() for line in printed.strip().splitlines()]
    same = len(wanted) == len(found) and all(
        re.fullmatch(_pattern(line), other) for line, other in zip(wanted, found, strict=True)
    )
    assert same, f"{place} shows\n{shown}\nbut this was printed:\n{printed}"


def _pattern(line: str) -> str:
    """What may vary in the line: seconds, dates, and the space before them."""
    pattern = re.escape(line).replace(re.escape("..."), ".*")
    pattern = re.sub(r"(\\ )*[0-9]+(\\\.[0-9]+)?\\ s(?![a-z])", r" *[0-9.]+ s", pattern)
    pattern = re.sub(r"[0-9]{4}\\-[0-9\\: -]+", r"[0-9: -]+", pattern)
    # A column is as wide as its content: on a slow machine "12 s" instead of "1.2 s".
    return re.sub(r"(\\ )+", " +", pattern)
