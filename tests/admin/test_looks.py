"""The pages in a browser, light and dark, wide and narrow: all text is readable, nothing is cut
off.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests.wire import message

from .support.site import Site, browsing, serving_admin

PAGES = (
    "durable_state/stream/",
    "durable_state/stream/1/change/",
    "durable_state/deadletter/",
    "durable_state/deadletter/1/change/",
    "durable_state/feedentry/1/change/",
    "app/message/1/change/",
)
UNREADABLE = (Path(__file__).parent / "support" / "unreadable.js").read_text()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A stream with rows and letters, whose worker is gone."""
    scratch = tmp_path_factory.mktemp("admin")
    with serving_admin(scratch, "tests.admin.support.short_leases") as site:
        refused = (message(f"bad{place}", "x" * 60) for place in range(9))
        site.commit(*(message(f"m{place}", "text") for place in range(20)), *refused)
        yield site


@pytest.fixture(scope="module")
def page(site: Site, chromium_path: str) -> Iterator[Page]:
    """A browser that is signed in."""
    with browsing(site, chromium_path) as page:
        yield page


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1400, 400])
def test_all_text_can_be_read(site: Site, page: Page, theme: str, width: int) -> None:
    """With a contrast of at least 4.5, and without horizontal scrolling."""
    page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
    page.set_viewport_size({"width": width, "height": 900})
    for path in PAGES:
        page.goto(f"{site.url}{path}")
        assert page.evaluate(UNREADABLE) == [], path
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
        for table in page.query_selector_all("#result_list"):
            box = table.bounding_box()
            assert box is not None
            assert box["x"] + box["width"] <= width, path
