"""The pages in a real browser, against the whole demo: what one window does, the other shows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.repositories import ScratchRepository
from tests.servers.require import skip_or_fail

from .support.demo import CHECKOUT, Demo

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def window(browser: Browser) -> Iterator[WindowMaker]:
    """Opens windows with their own cookies, and fails the test if one of them met a script
    error.
    """
    maker = WindowMaker(browser)
    yield maker
    maker.close()
    assert maker.errors == []


class WindowMaker:
    """Called for each new window."""

    def __init__(self, browser: Browser) -> None:
        self.browser = browser
        self.errors: list[str] = []
        self.contexts: list = []

    def __call__(self) -> Page:
        context = self.browser.new_context()
        self.contexts.append(context)
        page: Page = context.new_page()
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        return page

    def close(self) -> None:
        for context in self.contexts:
            context.close()


def enter(page: Page, url: str, name: str) -> None:
    """Opens the room and chooses a name."""
    page.goto(url)
    page.fill("#name", name)
    page.click("dialog button")
    page.wait_for_selector("#status[data-state=live]")


def say(page: Page, text: str) -> None:
    page.fill("#text", text)
    page.press("#text", "Enter")


def test_chat_reaches_the_other_window(demo: Demo, window: WindowMaker) -> None:
    """A message, a typing user, a reaction and a deletion in one window appear in the other,
    through the stream.
    """
    room = f"{demo.url()}/chat/lobby/"
    ada, grace = window(), window()
    enter(ada, room, "Ada")
    enter(grace, room, "Grace <b>Hopper</b>")

    grace.type("#text", "I am going to say")
    ada.wait_for_selector("#typing:has-text('Grace <b>Hopper</b> is typing')")
    say(grace, "<i>Hello</i>, window one")
    ada.wait_for_selector(".message .text:text-is('<i>Hello</i>, window one')")
    ada.wait_for_selector("#typing:empty", state="attached")
    say(ada, "Hello, window two")
    grace.wait_for_selector(".message .text:text-is('Hello, window two')")
    assert grace.locator(".pending").count() == 0

    ada.hover(".message:has-text('window one')")
    ada.click(".message:has-text('window one') .tools .offer >> nth=0")
    grace.wait_for_selector(".message:has-text('window one') .given:has-text('1')")
    grace.click(".message:has-text('window one') .given")
    ada.wait_for_selector(".message:has-text('window one') .given:has-text('2')")

    grace.hover(".message:has-text('window one')")
    grace.click(".message:has-text('window one') .remove")
    ada.wait_for_selector(".message:has-text('window one')", state="detached")
    expect(ada.locator("#people li")).to_have_count(2)
    expect(ada.locator("#present")).to_have_text("2 people here")

    # Another room is another stream, which shows nothing of this one.
    grace.click(".rooms a:has-text('Workshop')")
    grace.wait_for_selector("#status[data-state=live]")
    grace.wait_for_selector("#log .nothing")
    assert grace.locator(".message").count() == 0
    expect(ada.locator("#people")).not_to_contain_text("Grace")

    # However fast somebody types and sends, "is typing" does not come after the message.
    grace.click(".rooms a:has-text('Lobby')")
    grace.wait_for_selector("#status[data-state=live]")
    for number in range(5):
        grace.type("#text", f"quick {number}")
        grace.press("#text", "Enter")
    ada.wait_for_selector(".message .text:text-is('quick 4')")
    expect(ada.locator("#typing")).to_be_empty(timeout=2_000)


def test_a_lost_connection_resumes(demo: Demo, window: WindowMaker) -> None:
    """A window that was offline catches up by itself, once, with what was said meanwhile."""
    room = f"{demo.url()}/chat/garden/"
    ada, grace = window(), window()
    # A line that can be cut: closed sockets stay closed until it is repaired.
    ada.add_init_script(
        """
        const Real = WebSocket; window.cut = false; window.sockets = []; window.asked = [];
        window.WebSocket = class extends Real {
          constructor(url, protocols) {
            super(window.cut ? "ws://127.0.0.1:9/" : url, protocols);
            window.sockets.push(this);
          }
          send(text) { window.asked.push(text); super.send(text); }
        };
        """
    )
    enter(ada, room, "Ada")
    enter(grace, room, "Grace")
    say(grace, "before")
    ada.wait_for_selector(".text:text-is('before')")
    ada.evaluate("window.cut = true; window.sockets.at(-1).close()")
    ada.wait_for_selector("#status[data-state=waiting]")
    say(grace, "meanwhile")
    grace.wait_for_selector(".message:not(.pending) .text:text-is('meanwhile')")
    ada.evaluate("window.cut = false")
    ada.wait_for_selector(".text:text-is('meanwhile')")
    assert ada.locator(".text").all_inner_texts() == ["before", "meanwhile"]
    assert "offset" in json.loads(ada.evaluate("window.asked.at(-1)"))


def test_behind_the_scenes(demo: Demo, window: WindowMaker) -> None:
    """An event shows its way, garbage is refused and counted, a killed worker has a successor,
    and a reset changes nothing that is shown.
    """
    page = window()
    page.goto(f"{demo.url()}/behind/")
    page.wait_for_selector("#status[data-state=live]")
    page.wait_for_selector("#board [data-key='ICE 73']")
    page.click("[data-send=one]")
    page.wait_for_selector("#ways .bar span >> nth=3", state="attached")
    label = page.get_attribute("#ways .bar", "aria-label") or ""
    assert [each.split()[0] for each in label.split(", ")] == ["append", "commit", "push", "draw"]
    read = page.locator("#account .sum dd")
    expect(read).to_have_text("7")

    page.click("[data-send=garbage]")
    expect(page.locator(".letters li")).to_have_count(4)
    expect(page.locator("#account")).to_contain_text("4")
    board = page.locator("#board tbody").inner_text()
    page.click("[data-do=reset]")
    expect(page.locator("#story")).to_contain_text("from its first message")
    before = page.inner_text("#worker")
    page.click("[data-do=kill]")
    demo.wait_for("Killing the worker")
    page.click("[data-send=many]")
    expect(read).to_have_text("511", timeout=40_000)
    assert page.locator("#board tbody tr").count() == len(board.splitlines())
    page.wait_for_selector("#status[data-state=live]")
    assert page.inner_text("#worker") != before
    # The frame after a reset names every transaction once more, which is not a new arrival.
    assert page.get_attribute("#ways .bar", "aria-label") == label


def test_the_official_client_shows_the_same_rows(demo: Demo, window: WindowMaker) -> None:
    """StreamDB, unchanged, through Django's own feed; both clients wait for an event."""
    if not (CHECKOUT / "tests/interop/node_modules/@tanstack/db").is_dir():
        skip_or_fail("the official clients are not installed in tests/interop")
    page = window()
    page.goto(f"{demo.url()}/behind/streamdb/")
    expect(page.locator("#theirs tr")).to_have_count(6)
    page.click("[data-send=many]")
    page.click("[data-send=one]")
    for each in ("ours", "theirs"):
        expect(page.locator(f"#{each}-took")).to_contain_text("ms", timeout=20_000)
    texts = [page.locator(f"#{each} tr").all_inner_texts() for each in ("ours", "theirs")]
    assert texts[0] == texts[1]


def test_pages_are_live_only_while_the_stream_is_read(demo: Demo, window: WindowMaker) -> None:
    """An open socket is not enough: a worker has to read the stream."""
    page = window()
    page.goto(f"{demo.url()}/history/")
    page.wait_for_selector("#status[data-state=live]")
    demo.manage("durable_state", "pause", "history")
    page.wait_for_selector("#status[data-state=waiting]:text-is('This stream is paused')")
    demo.manage("durable_state", "resume", "history")
    page.wait_for_selector("#status[data-state=live]")


def test_history_shows_rows_and_follows(
    demo: Demo, window: WindowMaker, shown_repository: ScratchRepository
) -> None:
    """The page has the repository's files with their blob ids, and a new commit appears without
    a reload.
    """
    page = window()
    page.goto(f"{demo.url()}/history/")
    page.wait_for_selector("#status[data-state=live]")
    tree = shown_repository.git("ls-tree", "-r", "HEAD").splitlines()
    page.wait_for_selector(f"[data-type=file]:text-is('{len(tree)}')")
    shown = {name.get_attribute("title") for name in page.locator(".file .name").all()}
    assert shown == {line.split("\t")[1].strip('"') for line in tree}
    blobs = {line.split()[2] for line in tree}
    assert {file.get_attribute("data-blob") for file in page.locator(".file").all()} == blobs
    expect(page.locator(".commit .face").first).to_have_text("N")  # of its author, "name"

    shown_repository.write("live.txt", "now")
    commit = shown_repository.commit("Appear by yourself")
    page.wait_for_selector(f".commit:has-text('Appear by yourself'):has-text('{commit[:10]}')")
    page.wait_for_selector(".file:has-text('live.txt')")

    page.fill("#filter", "LIVE")
    page.wait_for_selector(".file >> nth=1", state="detached")
    assert page.locator(".file .name").all_inner_texts() == ["live.txt"]


def test_admin_shows_streams_and_rows(demo: Demo, window: WindowMaker) -> None:
    """The printed login opens the admin, which lists the streams and the synced files."""
    page = window()
    page.goto(f"{demo.url()}/admin/")
    page.fill("#id_username", "admin")
    page.fill("#id_password", "admin")
    page.click("input[type=submit]")
    page.goto(f"{demo.url()}/admin/durable_state/stream/")
    for name in ("history", "chat-lobby"):
        page.wait_for_selector(f"#result_list tr:has-text('{name}')")
    page.goto(f"{demo.url()}/admin/history/file/")
    page.wait_for_selector("#result_list tr:has-text('counter-0')")


def test_what_a_visitor_may_not(demo: Demo, window: WindowMaker) -> None:
    """Without a name, with nonsense, or for another's message, the server refuses and nothing
    reaches the stream.
    """
    ada, mallory = window(), window()
    room = f"{demo.url()}/chat/workshop/"
    enter(ada, room, "Ada")
    say(ada, "mine")
    ada.wait_for_selector(".message:not(.pending):has-text('mine')")
    key = ada.get_attribute(".message:has-text('mine')", "data-key")

    mallory.goto(room)
    mallory.wait_for_selector(".message:has-text('mine')")
    act = """async (body) => {
      const token = document.querySelector("[name=csrfmiddlewaretoken]").value;
      const answer = await fetch("act/", {method: "POST", headers: {"X-CSRFToken": token}, body});
      return answer.status;
    }"""
    assert mallory.evaluate(act, '{"do": "say", "text": "no name yet"}') == 403
    mallory.fill("#name", "Mallory")
    mallory.click("dialog button")
    mallory.wait_for_selector("dialog:not([open])", state="attached")
    for refused in [
        json.dumps({"do": "delete", "message": key}),
        '{"do": "say", "text": "  "}',
        '{"do": "fly"}',
        "5",
        "{",
        '{"do": "say", "text": "\\ud800"}',
    ]:
        assert mallory.evaluate(act, refused) == 400, refused
    assert mallory.evaluate(act, '{"do": "say", "text": "done"}') == 200
    ada.wait_for_selector(".message:has-text('done')")
    assert ada.locator(".text").all_inner_texts() == ["mine", "done"]
