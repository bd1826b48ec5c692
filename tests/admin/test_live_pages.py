"""The admin's pages in a browser: they follow the stream's commits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.wire import delete, message

from .support.site import Site, browsing, serving_admin


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server as its own process."""
    with serving_admin(tmp_path_factory.mktemp("admin")) as site:
        yield site


@pytest.fixture(scope="module")
def page(site: Site, chromium_path: str) -> Iterator[Page]:
    """A browser that is signed in."""
    with browsing(site, chromium_path) as page:
        yield page


def test_a_list_follows_its_rows(site: Site, page: Page) -> None:
    """Cells change in place, deleted rows are struck through, new ones are offered; a selection
    in progress stays.
    """
    site.commit(*(message(f"m{place}", f"text {place}") for place in range(5)))
    page.goto(f"{site.url}app/message/")
    expect(page.locator("#durable-state-bar")).to_have_text("Live")
    page.check("tr:has-text('text 4') input[type=checkbox]")
    site.commit(
        message("m1", "changed"),
        delete("message", "m2"),
        message("new", "fresh"),
        message("m4", "later"),
    )
    expect(page.locator("tr:has-text('m1')")).to_contain_text("changed")
    expect(page.locator("tr.ds-gone")).to_contain_text("text 2")
    expect(page.locator("tr:has-text('m4') input[type=checkbox]")).to_be_checked()
    page.click("text=1 new row: show")
    expect(page.locator("tr:has-text('fresh')")).to_be_visible()


def test_the_page_of_a_row_follows_it(site: Site, page: Page) -> None:
    """Until the stream deletes it."""
    site.commit(message("one", "before"))
    page.goto(f"{site.url}app/message/")
    page.click("tr:has-text('before') a")
    expect(page.locator("#durable-state-bar")).to_have_text("Live")
    site.commit(message("one", "after"), message("two", "unrelated"))
    expect(page.locator(".field-text .readonly")).to_have_text("after")
    site.commit(delete("message", "one"))
    expect(page.locator("#durable-state-bar")).to_have_text("The stream has deleted this row")


def test_the_list_of_streams_counts_on(site: Site, page: Page) -> None:
    """Messages, and how fast they arrive."""
    site.commit(message("first", "x"))
    page.goto(f"{site.url}durable_state/stream/")

    def cell(name: str) -> Any:
        return page.locator(f"tr:has-text('chat') .field-{name}")

    before = int(cell("read").locator("[title]").inner_text())
    expect(cell("speed").locator("b")).to_have_text("0", timeout=10_000)
    site.commit(*(message(f"k{place}", "x") for place in range(100)))
    expect(cell("read").locator("[title]")).to_have_text(str(before + 100), timeout=10_000)
    assert float(cell("speed").locator("b").inner_text()) > 0


def test_the_whole_page_of_a_stream_follows_it(site: Site, page: Page) -> None:
    """Figures, counters, types, buttons and activity agree at every moment; open sections stay
    open, and the focus stays where it is.
    """
    site.commit(message("first", "x"))
    page.goto(f"{site.url}durable_state/stream/")
    page.click("tr:has-text('chat') th a")
    part = lambda name: page.locator(f"[data-part={name}]")  # noqa: E731
    before = int(part("figures").locator("b").first.inner_text())
    page.click("[data-part=position] summary")
    page.focus("[data-part=head] button:text('Verify')")
    page.evaluate("document.querySelector('[data-part=head]').dataset.seen = 'yes'")

    site.commit(message("more", "y"), message("refused", "z" * 60))
    expect(part("figures").locator("b").first).to_have_text(str(before + 2), timeout=10_000)
    expect(part("counters").locator(".ds-sum .ds-number")).to_have_text(str(before + 2))
    expect(part("counters").locator(".ds-pill")).to_have_text("every message read")
    expect(part("figures").locator(".ds-bad b")).to_have_text("1")
    expect(part("position").locator(f"dd:text-is('{before + 2}')").first).to_be_visible()

    assert site.command("pause", "chat").returncode == 0
    expect(part("alert").locator("button:text('Resume')")).to_be_visible(timeout=10_000)
    expect(part("head").locator("button:text('Pause')")).to_have_count(0)
    expect(part("activity")).to_contain_text("pause")
    assert page.evaluate("document.activeElement.closest('[data-part]')?.dataset.part") == "head"
    page.click("[data-part=alert] button:text('Resume')")
    page.click("text=Yes, resume")
    expect(page.locator(".messagelist")).to_contain_text("Resumed chat.")
