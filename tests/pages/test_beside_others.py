"""Live parts beside other scripts, tables and forms, in real Chromium."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.admin.support.site import Site
from tests.wire import message

from .support.browser import url

pytestmark = pytest.mark.timeout(120)


def opened(page: Page, site: Site) -> None:
    """Goes to the page, and waits until its parts follow."""
    page.goto(url(site, "/public/beside/"))
    expect(page.locator("#top")).to_have_attribute("data-live-state", "open")


def test_what_scripts_did_while_the_page_loaded_stays(site: Site, page: Page) -> None:
    """Alpine and custom elements change a page before its last module runs: that is theirs, and
    not what the server has rendered.
    """
    opened(page, site)
    site.commit(message("beside", "one"))
    expect(page.locator("#rows [data-key=beside]")).to_have_count(1)
    expect(page.locator("#top b")).to_have_text(str(page.locator("#rows tr").count()))
    assert page.evaluate("document.getElementById('top').innerHTML.replaceAll('\\n', '')") == (
        '<p id="menu" style="display: none;">Menu</p><i>added</i>'
        '<span id="label">by a script</span>'
        f"<b>{page.locator('#rows tr').count()}</b>"
    )


def test_rows_of_a_table_are_live_beside_other_parts(site: Site, page: Page) -> None:
    """A part may be a tbody or a tr, although such an element is nothing outside a table."""
    opened(page, site)
    site.commit(message("m1", "in both", "update"))
    expect(page.locator("#rows [data-key=m1] td").first).to_have_text("in both")
    expect(page.locator("tr#m1 td")).to_have_text("in both")
    assert page.evaluate("document.querySelector('tr#m1').parentNode.localName") == "tbody"


def test_a_form_can_be_sent_after_a_part_was_fetched(site: Site, page: Page) -> None:
    """With what was typed before, and with the token that counts now: another window has a new
    one, as after signing in.
    """
    opened(page, site)
    note = page.locator("#rows [data-key=m2] [name=note]")
    note.fill("mine")
    page.context.clear_cookies(name="csrftoken")
    window = page.context.new_page()
    window.goto(url(site, "/public/beside/"))
    window.close()
    site.commit(message("m3", "fetched", "update"))
    expect(page.locator("#rows [data-key=m3] td").first).to_have_text("fetched")
    note.press("Enter")
    expect(page.locator("body")).to_have_text("noted mine")
