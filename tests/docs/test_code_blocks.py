"""The code blocks of README and docs/ do what the pages say."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.servers.require import skip_or_fail

from .support.following import follow
from .support.pages import CHECKOUT, pages, steps
from .support.workshop import make_projects

MOST_NOT_RUN = 16
"""Blocks that are only to be read: few, each with its reason."""


@pytest.fixture(scope="module")
def followed(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[Path, Future[str]]]:
    """The chosen pages, several at a time: each mostly waits for the processes that it starts."""
    projects = make_projects(tmp_path_factory.mktemp("projects"))
    items = [item for item in request.session.items if isinstance(item, pytest.Function)]
    chosen = [
        Path(str(item.callspec.params["page"]))
        for item in items
        if item.originalname == "test_blocks_run"
    ]
    # The longest pages first.
    chosen.sort(key=lambda page: len(steps(page)), reverse=True)
    with ThreadPoolExecutor(3) as pool:
        yield {
            page: pool.submit(follow, page, projects, tmp_path_factory.mktemp(page.stem))
            for page in chosen
        }


@pytest.mark.parametrize(
    "page",
    [page for page in pages() if any(step.verb not in ("", "not run") for step in steps(page))],
    ids=lambda page: str(page.relative_to(CHECKOUT)),
)
def test_blocks_run(page: Path, followed: dict[Path, Future[str]]) -> None:
    """Each page is followed to the letter, in its own project."""
    if unseen := followed[page].result():
        skip_or_fail(f"what {page.name} shows in a browser was not looked at: {unseen}")


def test_few_blocks_are_not_run() -> None:
    """All code is run; the few blocks that cannot be say why."""
    code = ("python", "sh", "bash", "shell", "console", "js", "json", "html")
    for page in pages():
        for step in steps(page):
            if step.language in code or step.verb == "not run":
                assert step.verb, (
                    f"{page.name}:{step.line}: a block of {step.language} is neither run nor"
                    " excused"
                )
                assert step.verb != "not run" or len(step.argument) > 10, (
                    f"{page.name}:{step.line}: say why"
                )
    idle = [step for page in pages() for step in steps(page) if step.verb == "not run"]
    assert len(idle) <= MOST_NOT_RUN
