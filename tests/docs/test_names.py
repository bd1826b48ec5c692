"""Whatever pages name exists: parts of the package, files, headings; and every page can be
found.
"""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import durable_state

from .support.pages import CHECKOUT, links, pages

DOCS = CHECKOUT / "docs"
PACKAGE = Path(durable_state.__file__).parent


def test_dotted_names_in_pages_exist() -> None:
    """A dotted name of the package in a page can be imported."""
    for page in pages():
        for path in set(re.findall(r"\bdurable_state\.[a-z_]+(?:\.[A-Za-z_]+)*", page.read_text())):
            if re.fullmatch(
                r"durable_state\.(view_[a-z]+|[EW]|admin|none)", path
            ) or path.startswith("durable_state.E"):
                continue
            assert _exists(path), f"{page.name}: {path}"


def _exists(path: str) -> bool:
    parts = path.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for name in parts[length:]:
            if not hasattr(found, name):
                return False
            found = getattr(found, name)
        return True
    return False


def test_files_named_in_architecture_exist() -> None:
    """The invariants name the files that enforce them."""
    for path in re.findall(
        r"`((?:[a-z_]+/)*[a-z_]+\.py|(?:tests|[a-z]+)/[a-z_/]*)`",
        (DOCS / "architecture.md").read_text(),
    ):
        assert (PACKAGE / path).exists() or (CHECKOUT / path).exists(), path


def test_relative_links_resolve() -> None:
    """Links within the project lead to a file, and to a heading in it."""
    for page in pages():
        for line, target in links(page):
            path, _, anchor = target.partition("#")
            found = (page.parent / path).resolve() if path else page
            assert found.exists(), f"{page.name}:{line}: {target}"
            assert found.is_relative_to(CHECKOUT), f"{page.name}:{line}: {target}"
            if anchor:
                assert anchor in _anchors(found), f"{page.name}:{line}: {target}"


def _anchors(page: Path) -> set[str]:
    """The headings' anchors, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_page_can_be_reached() -> None:
    """From the README, by links."""
    reached: set[Path] = set()
    waiting = [CHECKOUT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached or page.suffix != ".md":
            continue
        reached.add(page)
        waiting += [
            (page.parent / target.partition("#")[0]).resolve()
            for _, target in links(page)
            if target[0] != "#"
        ]
    unlisted = {page for page in pages() if re.match(r"09\d\d-", page.name)}  # on their way
    assert {page for page in pages() if page not in reached} - unlisted == set()


def test_no_page_names_this_machine() -> None:
    """The pages must be valid on everybody's machine."""
    for page in pages():
        assert not re.search(r"/(home|root|work|tmp|Users)/|index.url", page.read_text()), page.name
