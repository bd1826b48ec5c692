"""A page that the browser keeps for its back button, in real Chromium."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.admin.support.site import Site, browsing
from tests.wire import message

from .support.browser import FOLLOW, url

pytestmark = pytest.mark.timeout(60)


def test_a_page_that_was_left_is_kept_and_goes_on(site: Site, chromium_path: str) -> None:
    """No open socket keeps the browser from keeping it; after going back it is the same page,
    and shows what was committed meanwhile.
    """
    with browsing(site, chromium_path, keeps_pages=True) as page:
        page.goto(url(site, "/public/whole/"))
        expect(page.locator("#whole")).to_have_attribute("data-live-state", "open")
        page.evaluate(FOLLOW)
        page.evaluate("window.same = true")
        page.goto(url(site, "/public/plain/?elsewhere"))
        site.commit(message("kept", "meanwhile"))
        page.go_back(wait_until="commit")
        assert page.evaluate("window.same")
        page.wait_for_function("chat.rows('message').has('kept')")
        assert page.evaluate("states.at(-1)") == "open"
        expect(page.locator("#whole")).to_contain_text("kept: meanwhile")
        expect(page.locator("#whole")).to_have_attribute("data-live-state", "open")
