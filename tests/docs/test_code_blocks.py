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

from tests.servers.require import skip_or_fail

from .support.following import follow
from .support.pages import CHECKOUT, pages, steps
from .support.workshop import make_projects

BROWSER = """
const location = new URL("https://example.org/board/");
const sockets = [], timers = [], elements = {};
class WebSocket { constructor(url) { this.url = String(url); sockets.push(this); } }
const setTimeout = (call) => timers.push(call);
const document = {
  createElement: () => ({}),
  getElementById: (id) => (elements[id] ??= { replaceChildren(...lines) { this.lines = lines; } }),
};
"""
"""As much of a browser as the pages' scripts use, on a page that came by https."""

FRAMES = """
const send = (offset, upToDate, ...items) =>
  sockets.at(-1).onmessage({ data: JSON.stringify({ items, offset, upToDate }) });
const control = (name) => ({ headers: { control: name } });
const change = (operation, key, title) =>
  ({ type: "task", key, value: { title, done: false }, headers: { operation } });
const seen = [];
const look = () =>
  seen.push([elements.tasks.lines.map((line) => line.textContent), elements.status.textContent]);

send("-1", false, control("snapshot-start"), change("insert", "a", "A"));
look();
send("7", true, change("insert", "b", "b"), control("snapshot-end"));
look();
send("8 +", true, change("update", "b", "B"), change("update", "c", "C"), change("delete", "a"));
look();
sockets.at(-1).onclose({ code: 1006 });
look();
timers.pop()();
send("-1", false, control("snapshot-start"), change("insert", "d", "D"));
sockets.at(-1).onclose({ code: 1006 });
look();
timers.pop()();
send("9", true, control("snapshot-start"), change("insert", "e", "E"), control("snapshot-end"));
look();
for (const code of [4401, 4403, 4404, 4429]) { sockets.at(-1).onclose({ code }); look(); }
const urls = sockets.map((socket) => socket.url);
console.log(JSON.stringify({ seen, urls, timers: timers.length }));
"""
MOST_NOT_RUN = 10
"""Blocks that are only to be read: few, each with its reason."""


@pytest.fixture(scope="module")
def followed(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[Path, Future[str]]]:
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
            page: pool.submit(follow, page, projects, tmp_path_factory.mktemp(page.stem))
            for page in chosen
        }


@pytest.mark.parametrize(
    "page",
    [page for page in pages() if any(step.verb not in ("", "not run") for step in steps(page))],
    ids=lambda page: str(page.relative_to(CHECKOUT)),
)
def test_blocks_run(page: Path, followed: dict[Path, Future[str]]) -> None:
    """Each page is followed letter by letter, in a project of its own."""
    if unseen := followed[page].result():
        skip_or_fail(f"what {page.name} shows in a browser was not looked at: {unseen}")


@pytest.mark.parametrize("page", ["README.md", "docs/tutorial.md"])
def test_javascript_follows_the_feed(page: str) -> None:
    """The page's script holds what the frames say, resumes, and ends at a final close code."""
    node = shutil.which("node")
    if node is None:
        skip_or_fail("there is no node on the PATH")
    (script,) = [
        step.text.split("<script>")[1].split("</script>")[0]
        for step in steps(CHECKOUT / page)
        if step.argument.endswith("board.html")
    ]
    done = subprocess.run([node, "-e", BROWSER + script + FRAMES], text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)

    titles = [[line.split(" ")[1] for line in lines] for lines, _ in told["seen"]]
    assert titles[:6] == [[], ["A", "b"], ["B", "C"], ["B", "C"], ["B", "C"], ["E"]]
    assert titles[6:] == [["E"]] * 4
    states = [state for _, state in told["seen"]]
    lost = "Connection lost, trying again…"
    assert states[:6] == ["Catching up…", "Live", "Live", lost, lost, "Live"]
    assert len(set(states[6:])) == 4

    resumed = [
        re.fullmatch(r"wss://example.org/ws/state/tasks/\?(?:type=\w+&)+offset=(.*)", url)
        for url in told["urls"]
    ]
    assert [each and each[1] for each in resumed] == ["", "8%20%2B", "-1"]
    assert told["timers"] == 0


def test_few_blocks_are_not_run() -> None:
    """Whatever is code is run; what cannot be says why, and there is little of it."""
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
