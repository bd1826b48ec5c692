"""Markdown pages as lists of code blocks, each with what the page says is to be done with it.

A comment ``<!-- verb: argument -->`` on a line of its own, outside code, is a directive.
Before a code block:

    file: PATH        the block is the file
    append: PATH      the block is added to the file
    install           the block makes the page's environment; typed only where none is prepared
    run               the block is a shell script that must succeed
    background        the block is a shell command that runs until the page ends
    output            what the last block printed; "..." stands for anything within a line
    not run: REASON   the block is only to be read

A Python block without one is executed in the page's one namespace. Between blocks:

    project: shop|empty             what folder the page works in
    also run: COMMAND               a command that readers need not see
    also background: COMMAND        the same, until the page ends
    wait: NUMBER                    until a stream of the project is read up to that message
    also open: URL USER PASSWORD    opens a page in a browser, and signs in there
    also see: TEXT                  until that page, which nobody reloads, shows the text
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["CHECKOUT", "Step", "links", "pages", "steps"]

CHECKOUT = Path(__file__).resolve().parents[3]
VERBS = ("file", "append", "install", "run", "background", "output", "not run")
PAGE_VERBS = ("project", "also run", "also background", "also open", "also see", "wait")
DIRECTIVE = re.compile(r"<!-- *(?P<verb>[a-z ]+?)(?:: *(?P<argument>.*?))? *-->")
FENCE = re.compile(r"(?P<indent> *)```(?P<language>\S*)")


@dataclass(frozen=True)
class Step:
    """One thing to do for a page.

    ``verb`` is a directive's, or ``python``, ``json``, ``js``, or empty for a block that is only to
    be read.
    """

    line: int
    verb: str
    argument: str
    language: str
    text: str


def pages() -> list[Path]:
    """All Markdown pages of the project."""
    return [*sorted(CHECKOUT.glob("*.md")), *sorted((CHECKOUT / "docs").rglob("*.md"))]


def steps(page: Path) -> list[Step]:
    """Returns what the page asks for, in order.

    Raises: ValueError, for a directive that is unknown or stands before no block.
    """
    found: list[Step] = []
    pending: tuple[str, str] | None = None
    lines = iter(enumerate(page.read_text().splitlines(), 1))
    for number, line in lines:
        if directive := DIRECTIVE.fullmatch(line.strip()):
            verb, argument = directive["verb"], directive["argument"] or ""
            if verb in PAGE_VERBS:
                found.append(Step(number, verb, argument, "", ""))
            elif verb in VERBS and pending is None:
                pending = verb, argument
            else:
                raise ValueError(f"{page.name}:{number}: directive {verb!r}")
        elif fence := FENCE.fullmatch(line):
            body = _body(lines, len(fence["indent"]))
            language = fence["language"]
            verb, argument = pending or (
                language if language in ("python", "json", "js") else "",
                "",
            )
            found.append(Step(number, verb, argument, language, body))
            pending = None
        elif line.strip() and pending is not None:
            raise ValueError(f"{page.name}:{number}: {pending[0]!r} stands before no code block")
    return found


def _body(lines: Iterator[tuple[int, str]], indent: int) -> str:
    body: list[str] = []
    for _, line in lines:
        if line.strip() == "```":
            return "\n".join(body) + "\n"
        body.append(line[indent:])
    raise ValueError("a code block without an end")


def links(page: Path) -> list[tuple[int, str]]:
    """Returns the targets of the page's links into the project, with their line numbers."""
    found = []
    in_code = False
    for number, line in enumerate(page.read_text().splitlines(), 1):
        if line.strip().startswith("```"):
            in_code = not in_code
        if not in_code:
            prose = re.sub(r"`[^`]*`", "", line)
            found += [(number, target) for target in re.findall(r"\]\(([^)\s]+)\)", prose)]
    return [
        (number, target)
        for number, target in found
        if "://" not in target and not target.startswith("mailto:")
    ]
