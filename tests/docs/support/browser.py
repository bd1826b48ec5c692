"""A page in headless Chromium, as a reader would look at it while following the documentation."""

from __future__ import annotations

from playwright.sync_api import expect, sync_playwright

__all__ = ["Browser"]


class Browser:
    """One window. Whoever opened it closes it, in the same thread."""

    def __init__(self, chromium: str) -> None:
        self._playwright = sync_playwright().start()
        self._browser = self._playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]
        )
        self.page = self._browser.new_page()
        self.errors: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))

    def open(self, url: str, user: str, password: str) -> None:
        """Opens the page, and signs in where it leads to the admin's login."""
        self.page.goto(url)
        self.page.fill("#id_username", user)
        self.page.fill("#id_password", password)
        # The form is styled: what the page is made of has been found.
        size = self.page.evaluate("getComputedStyle(document.querySelector('#container')).display")
        assert size == "flex", "the admin's static files are not served"
        self.page.click("[type=submit]")
        self.page.wait_for_url(url)

    def see(self, text: str) -> None:
        """Waits until the page shows the text, without a reload. Raises: AssertionError."""
        expect(self.page.locator("body")).to_contain_text(text, timeout=20_000)
        assert self.errors == []

    def close(self) -> None:
        self._browser.close()
        self._playwright.stop()
