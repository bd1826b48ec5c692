"""The code blocks of README and docs/ do what the pages say."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.docs.pages import CHECKOUT, Step, pages, steps
from tests.docs.workshop import Workshop, make_projects
from tests.servers.require import skip_or_fail

SOCKET = """
const location = { host: "example.org" };
let socket;
class WebSocket { constructor(url) { this.url = url; socket = this; } }
"""
FRAMES = """
const send = (...items) => socket.onmessage({ data: JSON.stringify({ items, offset: "7", upToDate: true }) });
const change = (operation, key, value) => ({ type: "task", key, value, headers: { operation } });
send(change("insert", "old", {}));
send({ headers: { control: "snapshot-start" } });
send(change("insert", "a", { title: "A" }), change("insert", "b", { title: "b" }));
send({ headers: { control: "snapshot-end" } });
send(change("update", "b", { title: "B" }), change("update", "c", { title: "C" }), change("delete", "a"));
console.log(JSON.stringify([...rows]), resume);
"""
MOST_NOT_RUN = 10
"""Blocks that are only to be read: few, each with its reason."""


@pytest.fixture(scope="module")
def followed(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[Path, Future[None]]]:
    """The chosen pages, a few at a time: each mostly waits for the processes that it starts."""
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
            page: pool.submit(_follow, page, projects, tmp_path_factory.mktemp(page.stem))
            for page in chosen
        }


@pytest.mark.parametrize(
    "page",
    [page for page in pages() if any(step.verb not in ("", "not run") for step in steps(page))],
    ids=lambda page: str(page.relative_to(CHECKOUT)),
)
def test_blocks_run(page: Path, followed: dict[Path, Future[None]]) -> None:
    """Each page is followed letter by letter, in a project of its own."""
    followed[page].result()


def _follow(page: Path, projects: dict[str, Path], folder: Path) -> None:
    todo = steps(page)
    with Workshop(folder, page.name) as workshop:
        chosen = next((step.argument for step in todo if step.verb == "project"), "shop")
        workshop.project(projects[chosen])
        for step in todo:
            _perform(workshop, step, f"{page.name}:{step.line}")


def _perform(workshop: Workshop, step: Step, place: str) -> None:
    match step.verb:
        case "file":
            workshop.write(step.argument, step.text)
        case "append":
            workshop.write(step.argument, step.text, mode="a")
        case "run":
            workshop.shell(step.text)
        case "also run":
            workshop.shell(step.argument)
        case "background":
            workshop.background(step.text)
        case "also background":
            workshop.background(step.argument)
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
    """What the line may be: seconds, dates and the space before them are as they come."""
    pattern = re.escape(line).replace(re.escape("..."), ".*")
    pattern = re.sub(r"(\\ )*[0-9]+(\\\.[0-9]+)?\\ s(?![a-z])", r" *[0-9.]+ s", pattern)
    return re.sub(r"[0-9]{4}\\-[0-9\\: -]+", r"[0-9: -]+", pattern).replace(r"\ ", r" +")


def test_javascript_follows_the_feed() -> None:
    """The README's script, run by Node with a socket of its own, holds what the frames say."""
    node = shutil.which("node")
    if node is None:
        skip_or_fail("there is no node on the PATH")
    (script,) = [step.text for step in steps(CHECKOUT / "README.md") if step.verb == "js"]
    done = subprocess.run([node, "-e", SOCKET + script + FRAMES], text=True, capture_output=True)
    assert done.stdout.strip() == '[["b",{"title":"B"}],["c",{"title":"C"}]] 7', done.stderr


def test_few_blocks_are_not_run() -> None:
    """Whatever is code is run; what cannot be says why, and there is little of it."""
    code = ("python", "sh", "bash", "shell", "console", "js", "json", "html")
    for page in pages():
        for step in steps(page):
            if step.language in code or step.verb == "not run":
                assert step.verb, (
                    f"{page.name}:{step.line}: a block of {step.language} is neither run nor excused"
                )
                assert step.verb != "not run" or len(step.argument) > 10, (
                    f"{page.name}:{step.line}: say why"
                )
    idle = [step for page in pages() for step in steps(page) if step.verb == "not run"]
    assert len(idle) <= MOST_NOT_RUN
