"""Live parts and the client in real Chromium, against a real server."""

from __future__ import annotations

import signal
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.admin.support.site import Site
from tests.wire import delete, message

from .support.browser import FOLLOW, allow, url

pytestmark = pytest.mark.timeout(120)


def test_a_part_follows_and_keeps_what_a_person_does(site: Site, page: Page) -> None:
    """A half-typed form, focus, selection, scrolling, open sections, and additions of scripts
    stay; the rest of the page is not touched, and only the part is fetched.
    """
    page.goto(url(site, "/board/"))
    board = page.locator("#board")
    expect(board).to_have_attribute("data-live-state", "open")
    visits = page.inner_text("#other")
    note = board.locator("[data-key=m20] input")
    note.fill("half a sentence")
    note.evaluate("input => input.setSelectionRange(3, 7)")
    page.click("summary")
    page.evaluate(
        """() => {
          window.kept = document.querySelector("[data-key=m20]");
          kept.classList.add("mine");
          kept.append(Object.assign(document.createElement("em"), {textContent: "mine"}));
        }"""
    )
    note.focus()
    top = page.evaluate("kept.getBoundingClientRect().top")
    with page.expect_response(lambda each: each.url.endswith("/board/")) as fetched:
        site.commit(
            message("m9z", "new one"),
            message("m20", "changed", "update", likes=7),
            delete("message", "m1"),
            message("m3", "also", "update", likes=3),
        )
    assert "<h1>" not in fetched.value.text()
    expect(board.locator("[data-key=m9z]")).to_contain_text("new one")
    expect(board.locator("[data-key=m20] span")).to_have_text("changed")
    expect(board.locator("[data-key=m1]")).to_have_count(0)
    expect(board.locator("[data-key=m3] input")).to_have_value("3")
    expect(board.locator("#count")).to_have_text("40 messages")
    expect(note).to_have_value("half a sentence")
    expect(note).to_be_focused()
    assert note.evaluate("input => [input.selectionStart, input.selectionEnd]") == [3, 7]
    assert page.evaluate("kept.isConnected && kept.className + kept.lastChild.textContent") == (
        "minemine"
    )
    assert page.evaluate("document.querySelector('details').open")
    assert abs(page.evaluate("kept.getBoundingClientRect().top") - top) < 60
    assert page.inner_text("#other") == visits
    expect(page.locator("#total b")).to_have_text("40")
    # A row that is deleted while somebody types in it stays until they are done.
    site.commit(delete("message", "m20"))
    expect(board.locator("[data-key=m20]")).to_have_attribute("data-live-gone", "")
    expect(note).to_have_value("half a sentence")
    note.fill("7")
    page.focus("summary")
    site.commit(delete("message", "m2"))
    expect(board.locator("[data-key=m20]")).to_have_count(0)


def test_what_changed_is_marked(site: Site, page: Page) -> None:
    """Rows with a key, for a moment; and events say so."""
    page.goto(url(site, "/board/"))
    expect(page.locator("#board")).to_have_attribute("data-live-state", "open")
    page.evaluate(
        """() => { window.seen = []; document.addEventListener("durable-state:updated",
          ({ detail }) => seen.push(...detail.changed.map((each) => each.dataset.key))); }"""
    )
    site.commit(message("m5", "marked", "update"))
    page.wait_for_selector("[data-key=m5][data-live-changed]")
    assert page.evaluate("seen.filter((each) => each)") == ["m5"]


def test_many_commits_are_few_fetches(site: Site, page: Page) -> None:
    """And the last of them is shown."""
    page.goto(url(site, "/board/"))
    expect(page.locator("#board")).to_have_attribute("data-live-state", "open")
    asked: list[str] = []
    page.on("request", lambda each: asked.append(each.url))
    for place in range(30):
        site.commit(message("m6", f"round {place}", "update"))
    expect(page.locator("[data-key=m6] span")).to_have_text("round 29")
    assert 1 <= len([each for each in asked if each.endswith("/board/")]) <= 6


def test_a_hidden_page_waits_until_it_is_seen(site: Site, page: Page) -> None:
    """Then it fetches once."""
    page.goto(url(site, "/board/"))
    expect(page.locator("#board")).to_have_attribute("data-live-state", "open")
    hide = """(hidden) => {
      Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
      document.dispatchEvent(new Event("visibilitychange"));
    }"""
    page.evaluate(hide, True)
    asked: list[str] = []
    page.on("request", lambda each: asked.append(each.url))
    page.evaluate(FOLLOW)
    site.commit(message("m7", "unseen", "update"))
    page.wait_for_function("chat.rows('message').get('m7').text === 'unseen'")
    assert not [each for each in asked if each.endswith("/board/")]
    page.evaluate(hide, False)
    expect(page.locator("[data-key=m7] span")).to_have_text("unseen")


def test_nested_parts_follow_each_for_itself(site: Site, page: Page) -> None:
    """One whose other stream cannot be read says so in the console."""
    said: list[str] = []
    page.on("console", lambda each: said.append(each.text))
    page.goto(url(site, "/room/"))
    expect(page.locator("#inner")).to_have_attribute("data-live-state", "open")
    site.commit(message("a", "at the end"))
    expect(page.locator("#room > i:has-text('at the end')")).to_have_count(1)
    assert any("1 of the streams" in each for each in said)


def test_signing_out_stops_a_part(site: Site, page: Page) -> None:
    """Its content stays, and it says that it is not updated."""
    page.goto(url(site, "/board/"))
    expect(page.locator("#board")).to_have_attribute("data-live-state", "open")
    cookies = page.context.cookies()
    page.context.clear_cookies()
    said: list[str] = []
    page.on("console", lambda each: said.append(each.text))
    site.commit(message("m8", "for others", "update"))
    expect(page.locator("#board")).to_have_attribute("data-live-state", "off")
    expect(page.locator("#board li").first).to_be_visible()
    assert any("no longer updates" in each for each in said)
    page.context.add_cookies(cookies)  # type: ignore[arg-type]


def test_who_may_not_read_sees_a_page_that_stands_still(site: Site, page: Page) -> None:
    """And the console says why."""
    cookies = page.context.cookies()
    page.context.clear_cookies()
    said: list[str] = []
    page.on("console", lambda each: said.append(each.text))
    page.goto(url(site, "/public/board/"))
    expect(page.locator("#board")).to_have_attribute("data-live-off", "not-readable")
    page.wait_for_timeout(100)
    assert any("you may not read its streams" in each for each in said)
    page.context.add_cookies(cookies)  # type: ignore[arg-type]


def test_follow_keeps_rows_and_says_what_changed(site: Site, page: Page) -> None:
    """First all rows, then each change with the value before it; equal updates are left out."""
    page.goto(url(site, "/board/"))
    page.evaluate(FOLLOW)
    first = page.evaluate("told[0]")
    assert first[0] is True
    assert {each[0] for each in first[1:]} == {"insert"}
    assert page.evaluate("chat.rows('message').size") == len(first) - 1
    site.commit(message("f", "one"))
    site.commit(message("f", "two", "update"))
    site.commit(message("f", "two", "update"))
    site.commit(delete("message", "f"))
    page.wait_for_function("told.length === 4")
    assert page.evaluate("told.slice(1)") == [
        [False, ["insert", "f", "one", None]],
        [False, ["update", "f", "two", "one"]],
        [False, ["delete", "f", None, "two"]],
    ]
    assert page.evaluate("states.at(-1)") == "open"
    page.evaluate("chat.close()")
    assert page.evaluate("chat.status.state") == "closed"


def test_transactions_can_be_waited_for(site: Site, page: Page) -> None:
    """Even one that has arrived already; one that does not come is an error."""
    page.goto(url(site, "/board/"))
    page.evaluate(FOLLOW)
    page.evaluate("void (window.waited = chat.awaitTxId('t1'))")
    site.commit(message("tx", "one", headers={"txid": "t1"}))
    page.evaluate("waited")
    page.evaluate("chat.awaitTxId('t1')")
    failed: Any = page.evaluate("chat.awaitTxId('t2', 50).catch((error) => error.message)")
    assert "t2 did not arrive" in failed


def test_a_client_without_network_goes_on_where_it_was(site: Site, page: Page) -> None:
    """It says that it waits, and shows what happened meanwhile as changes, without starting
    over.
    """
    page.add_init_script(
        """
        const Real = WebSocket; window.cut = false; window.sockets = [];
        window.WebSocket = class extends Real {
          constructor(url, protocols) {
            super(window.cut ? "ws://127.0.0.1:9/" : url, protocols);
            sockets.push(this);
          }
        };
        """
    )
    page.goto(url(site, "/board/"))
    page.evaluate(FOLLOW)
    page.evaluate("window.cut = true; sockets.at(-1).close()")
    page.wait_for_function("states.at(-1) === 'waiting'")
    site.commit(message("meanwhile", "one"))
    page.evaluate("window.cut = false; dispatchEvent(new Event('online'))")
    page.wait_for_function("told.length === 2")
    assert page.evaluate("told[1]") == [False, ["insert", "meanwhile", "one", None]]
    page.wait_for_function("states.at(-1) === 'open'")


def test_a_link_that_died_in_silence_is_found_on_waking(site: Site, page: Page) -> None:
    """After sleep a socket looks open that nobody answers; it is given up, and missed changes
    arrive over a new one.
    """
    page.goto(url(site, "/board/"))
    page.evaluate(FOLLOW)
    page.wait_for_function("chat.status.state === 'open'")
    site.process.send_signal(signal.SIGSTOP)
    try:
        page.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))")
        page.wait_for_function("chat.status.state === 'waiting'")
    finally:
        site.process.send_signal(signal.SIGCONT)
    site.commit(message("awake", "again"))
    page.wait_for_function("chat.rows('message').get('awake')?.text === 'again'")


def test_a_link_that_died_in_silence_is_found_by_its_heartbeat(site: Site, page: Page) -> None:
    """Although nothing wakes the page: it has heard nothing for longer than the server said."""
    page.clock.install()
    page.goto(url(site, "/public/plain/"))
    page.evaluate(FOLLOW)
    page.wait_for_function("chat.status.state === 'open'")
    site.process.send_signal(signal.SIGSTOP)
    try:
        page.clock.run_for(25_000)
        quiet = page.evaluate("chat.status.state")
        page.clock.run_for(20_000)
        page.wait_for_function("states.includes('waiting')")
    finally:
        site.process.send_signal(signal.SIGCONT)
    assert quiet == "open"
    site.commit(message("beating", "again"))
    page.wait_for_function("chat.rows('message').get('beating')?.text === 'again'")


def test_without_network_the_client_says_so(site: Site, page: Page) -> None:
    """Within seconds, and not only when a heartbeat is missing; then it continues."""
    page.goto(url(site, "/public/plain/"))
    page.evaluate(FOLLOW)
    page.wait_for_function("chat.status.state === 'open'")
    page.context.set_offline(True)
    try:
        page.wait_for_function("chat.status.state === 'waiting'", timeout=15_000)
        site.commit(message("offline", "missed"))
    finally:
        page.context.set_offline(False)
    page.wait_for_function("chat.rows('message').get('offline')?.text === 'missed'")


def test_a_permission_that_is_taken_away_ends_it(site: Site, page: Page) -> None:
    """Within seconds, for parts and clients; nothing that was shown is removed from the page."""
    page.goto(url(site, "/public/board/"))
    page.evaluate(FOLLOW)
    expect(page.locator("#board")).to_have_attribute("data-live-state", "open")
    allow(site, False)
    try:
        page.wait_for_function("chat.status.state === 'refused'", timeout=20_000)
        assert page.evaluate("chat.status.code") == 4403
        expect(page.locator("#board")).to_have_attribute("data-live-state", "off")
        expect(page.locator("#board li").first).to_be_visible()
    finally:
        allow(site, True)
    page.evaluate("chat.retry()")
    page.wait_for_function("chat.status.state === 'open'")


def test_a_page_has_one_socket(site: Site, page: Page) -> None:
    """For its parts, its own streams, and a second copy of the client from another URL."""
    sockets: list[str] = []
    page.on("websocket", lambda each: sockets.append(each.url))
    page.goto(url(site, "/board/"))
    page.evaluate(FOLLOW)
    page.evaluate(
        """async () => {
          const { follow } = await import("/static/durable_state/client.js?again");
          window.other = follow("chat", { keys: ["m4"] });
          await other.ready;
        }"""
    )
    expect(page.locator("#board")).to_have_attribute("data-live-state", "open")
    assert page.evaluate("[...other.rows('message').keys()]") == ["m4"]
    assert [each.split("/", 3)[3] for each in sockets] == ["ws/state/"]


def test_a_stream_that_may_not_be_read_is_asked_for_once(site: Site, page: Page) -> None:
    """The status says why, and no further socket is opened for it."""
    page.goto(url(site, "/board/"))
    page.evaluate(FOLLOW.replace('"chat", {', '"none", {').replace("await chat.ready;", ""))
    page.wait_for_function("states.at(-1) === 'refused'")
    assert page.evaluate("[chat.status.code, chat.status.text]") == [
        4404,
        "There is no such stream.",
    ]
