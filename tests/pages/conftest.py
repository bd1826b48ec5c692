"""A server with live pages, and a browser that is signed in."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page

from tests.admin.support.site import Site, browsing, serving_admin
from tests.wire import message


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server as its own process."""
    with serving_admin(
        tmp_path_factory.mktemp("pages"), "tests.pages.support.live_settings"
    ) as site:
        site.commit(*(message(f"m{place}", f"text {place}") for place in range(40)))
        yield site


@pytest.fixture(scope="module")
def signed_in(site: Site, chromium_path: str) -> Iterator[Page]:
    """A browser that is signed in."""
    with browsing(site, chromium_path) as page:
        yield page


@pytest.fixture
def page(signed_in: Page) -> Iterator[Page]:
    """A separate window, in which no script may fail."""
    page = signed_in.context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    page.close()
    assert errors == []
