"""The pictures in README and docs/ are taken from the running demo, so that they stay true.

``make screenshots`` puts them where the pages show them; as a test, into a temporary folder.
"""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.repositories import ScratchRepository

from .support.demo import Demo

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(240)]

SIDE_BY_SIDE = """
<style>
  body { display: flex; gap: 14px; margin: 0; padding: 14px; background: #dfe3e8 }
  img { display: block; height: 470px; border-radius: 8px; box-shadow: 0 1px 6px #0004 }
</style>
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder for the pictures."""
    return Path(os.environ.get("DURABLE_STATE_PICTURES") or tmp_path)


def window(browser: Browser, width: int, height: int) -> Page:
    return browser.new_context(
        viewport={"width": width, "height": height}, timezone_id="UTC"
    ).new_page()


def is_picture(path: Path) -> bool:
    return path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size > 10_000


def test_chat_in_two_windows(demo: Demo, browser: Browser, folder: Path) -> None:
    """Two people talk, and one of them is typing."""
    pages = {}
    for name in ("Ada", "Grace"):
        page = pages[name] = window(browser, 880, 470)
        page.goto(f"{demo.url()}/chat/lobby/")
        page.fill("#name", name)
        page.click("dialog button")
        page.wait_for_selector("#status[data-state=live]")
    ada, grace = pages["Ada"], pages["Grace"]
    for page, text in (
        (ada, "The deploy is through. Anything odd in the dashboards?"),
        (grace, "Nothing. I killed a worker half-way, too: not a row missing."),
    ):
        page.fill("#text", text)
        page.press("#text", "Enter")
        for other in (ada, grace):
            other.wait_for_selector(f".message .text:text-is('{text}')")
    grace.wait_for_selector("#typing:empty", state="attached")
    grace.type("#text", "And the tables equal the")
    ada.wait_for_selector("#typing:has-text('Grace is typing')")

    taken = [base64.b64encode(page.screenshot()).decode() for page in (ada, grace)]
    both = window(browser, 1802, 498)
    both.set_content(
        SIDE_BY_SIDE + "".join(f'<img src="data:image/png;base64,{each}">' for each in taken)
    )
    both.locator("body").screenshot(path=folder / "chat.png", scale="css")
    assert is_picture(folder / "chat.png")


def test_history(
    demo: Demo, browser: Browser, folder: Path, shown_repository: ScratchRepository
) -> None:
    """The repository's commits and files, while commits are made."""
    page = window(browser, 1200, 760)
    page.goto(f"{demo.url()}/history/")
    page.wait_for_selector("#status[data-state=live]")
    for number in range(3):
        shown_repository.write(f"folder {number}/file-{number}.txt", "new\n")
        shown_repository.commit(f"Appear at once, number {number}")
        page.wait_for_selector(f"text=Appear at once, number {number}")
    page.screenshot(path=folder / "history.png")
    assert is_picture(folder / "history.png")


def test_admin(demo: Demo, browser: Browser, folder: Path) -> None:
    """The streams, and the page of one."""
    page = window(browser, 1200, 900)
    page.goto(f"{demo.url()}/admin/durable_state/stream/")
    page.fill("#id_username", "admin")
    page.fill("#id_password", "admin")
    page.click("[type=submit]")
    page.wait_for_selector("a:text-is('history')")
    page.screenshot(path=folder / "admin-streams.png")
    page.click("a:text-is('history')")
    page.wait_for_selector("h1, h2")
    page.wait_for_timeout(2_000)  # two samples, so that the charts have a line
    page.screenshot(path=folder / "admin-stream.png")
    assert is_picture(folder / "admin-streams.png")
    assert is_picture(folder / "admin-stream.png")
