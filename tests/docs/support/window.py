"""A page in headless Chromium, as a reader would look at it while following the documentation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playwright.sync_api import expect

if TYPE_CHECKING:
    from playwright.sync_api import Browser

__all__ = ["Window"]


class Window:
    """One window of a browser, for use in the thread that started the browser."""

    def __init__(self, browser: Browser) -> None:
        self.page = browser.new_page()
        self.errors: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))

    def open(self, url: str, user: str, password: str) -> None:
        """Opens a page of the admin, and signs in."""
        self.page.goto(url)
        self.page.fill("#id_username", user)
        self.page.fill("#id_password", password)
        # The form is styled, so the page's static files were found.
        size = self.page.evaluate("getComputedStyle(document.querySelector('#container')).display")
        assert size == "flex", "the admin's static files are not served"
        self.page.click("[type=submit]")
        self.page.wait_for_url(url)

    def see(self, text: str) -> None:
        """Waits until the page shows the text, without a reload. Raises: AssertionError."""
        expect(self.page.locator("body")).to_contain_text(text, timeout=20_000)
        assert self.errors == []
