"""A web server that is restarted below a page, in real Chromium."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.admin.support.site import browsing, serving_admin
from tests.servers.rakaia import free_port
from tests.wire import message

from .support.browser import FOLLOW, url

pytestmark = pytest.mark.timeout(120)


def test_parts_and_clients_continue_on_the_new_one(tmp_path: Path, chromium_path: str) -> None:
    """They say that they wait, and show what happened meanwhile as changes."""
    settings, port = "tests.pages.support.live_settings", free_port()
    with serving_admin(tmp_path, settings, port) as site:
        site.commit(message("m1", "one"))
        with browsing(site, chromium_path) as page:
            page.goto(url(site, "/public/whole/"))
            page.evaluate(FOLLOW)
            part = page.locator("#whole")
            expect(part).to_have_attribute("data-live-state", "open")
            site.process.kill()
            page.wait_for_function("chat.status.state === 'waiting'")
            expect(part).not_to_have_attribute("data-live-state", "open")
            with serving_admin(tmp_path, settings, port) as again:
                again.commit(message("m2", "two"))
                expect(part).to_contain_text("m2: two", timeout=30_000)
                expect(part).to_have_attribute("data-live-state", "open")
                page.wait_for_function("told.length === 2")
                assert page.evaluate("told[1]") == [False, ["insert", "m2", "two", None]]
