"""The pages say "Live" only while a worker consumes the stream and the page hears from the server.

With real workers, killed, stopped and absent.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.management.support.publishing import publish
from tests.servers.process import StreamServer
from tests.wire import message

from .support.site import Site, browsing, serving_admin

LATER = 30_000
"""Milliseconds, for a slow machine."""
START = "Start: manage.py durable_state run, or a Celery worker and beat"


@pytest.fixture
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """With leases of two seconds, a missing worker is noticed after three."""
    scratch = tmp_path_factory.mktemp("admin")
    with serving_admin(scratch, "tests.admin.support.short_leases") as site:
        yield site


@pytest.fixture
def page(site: Site, chromium_path: str) -> Iterator[Page]:
    """A browser that is signed in."""
    with browsing(site, chromium_path) as page:
        yield page


def cell(page: Page, name: str) -> Locator:
    """The text of the stream's row."""
    return page.locator(f"tr:has-text('chat') .{name}")


def test_pages_follow_the_worker(site: Site, page: Page, rakaia_server: StreamServer) -> None:
    """Worker absent, working, killed; following by cron; paused: lists, pages and command say
    the same.
    """
    url = rakaia_server.stream("chat")
    with ThreadPoolExecutor(1) as apart:  # the browser's own event loop runs in this thread
        apart.submit(publish, url, message("1", "one")).result()
    assert site.command("add", "chat", url).returncode == 0
    streams, rows = f"{site.url}durable_state/stream/", f"{site.url}app/message/"

    page.goto(streams)
    expect(cell(page, "ds-pill")).to_have_text("no worker", timeout=LATER)
    expect(cell(page, "ds-error")).to_contain_text("No worker for")
    expect(cell(page, "ds-pill")).to_have_class(re.compile("ds-warn"))

    other = page.context.new_page()
    with site.worker() as worker:
        expect(cell(page, "ds-pill")).to_have_text("live", timeout=LATER)
        expect(cell(page, "field-read .ds-number")).to_contain_text("1", timeout=LATER)
        other.goto(rows)
        bar = other.locator("#durable-state-bar")
        expect(bar).to_have_text("Live", timeout=LATER)
        expect(bar).to_have_attribute("data-tone", "good")
        worker.send_signal(signal.SIGKILL)
        worker.wait()
    expect(bar).to_have_text("Not live: no worker reads chat", timeout=LATER)
    expect(bar).to_have_attribute("data-tone", "warn")
    expect(cell(page, "ds-pill")).to_have_text("no worker", timeout=LATER)
    told = site.command("status")
    assert told.returncode == 1
    assert "no-worker" in told.stdout
    assert START in told.stdout

    assert site.command("sync", "chat", "--until-up-to-date").returncode == 0
    told = site.command("status")
    assert told.returncode == 0
    assert "nobody follows it" in told.stdout
    expect(bar).to_contain_text("Not live: chat is up to date as of", timeout=LATER)
    expect(cell(page, "ds-pill")).to_have_class(re.compile("ds-quiet"), timeout=LATER)

    with site.worker():
        expect(bar).to_have_text("Live", timeout=LATER)
        assert site.command("pause", "chat").returncode == 0
        expect(bar).to_have_text("Not live: chat is paused", timeout=LATER)
        expect(cell(page, "ds-pill")).to_have_text("paused", timeout=LATER)


def test_pages_tell_when_their_server_is_gone(site: Site, page: Page) -> None:
    """Nothing stays green: the pages say as of when they are true."""
    site.commit()
    streams = page.context.new_page()
    streams.goto(f"{site.url}durable_state/stream/")
    page.goto(streams.url)
    page.click("tr:has-text('chat') a")
    expect(page.locator(".ds-stale-note")).to_be_hidden()
    site.process.terminate()
    site.process.wait()
    for each in (streams, page):
        note = each.locator(".ds-stale-note")
        expect(note).to_contain_text("Not updated since", timeout=LATER)
        expect(note).to_contain_text("cannot be reached")
        expect(each.locator("body.ds-stale")).to_have_count(1)
