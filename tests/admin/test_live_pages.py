"""The admin's pages in a browser: they follow what the stream commits."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from tests.servers.rakaia import free_port


def change(key: str, text: str, operation: str = "insert") -> dict[str, Any]:
    """One change of a message."""
    return {
        "type": "message",
        "key": key,
        "value": {"text": text, "likes": 0},
        "headers": {"operation": operation},
    }


class Site:
    """A running admin; ``commit`` materializes messages of the stream "chat" in it."""

    def __init__(self, url: str, process: subprocess.Popen[str]) -> None:
        self.url = url
        self._process = process

    def commit(self, *messages: dict[str, Any]) -> None:
        """Returns when the rows are there."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(messages) + "\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "done\n"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server as a process of its own."""
    port = free_port()
    environment = os.environ | {"SCRATCH": str(tmp_path_factory.mktemp("admin"))}
    with subprocess.Popen(
        [sys.executable, "-m", "tests.admin.serve", str(port)],
        cwd=Path(__file__).parents[2],
        env=environment,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        try:
            for _ in range(300):
                assert process.poll() is None
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.1)
            yield Site(f"http://127.0.0.1:{port}/admin/", process)
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def page(site: Site, chromium_path: str) -> Iterator[Page]:
    """A browser that is signed in; an error of a script fails the test."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium_path, args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page()
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(f"{site.url}login/")
        page.fill("#id_username", "admin")
        page.fill("#id_password", "admin")
        page.click("[type=submit]")
        yield page
        browser.close()
        assert errors == []


def test_a_list_follows_its_rows(site: Site, page: Page) -> None:
    """Cells change in place, rows that go are struck, new ones are offered; what is being selected stays selected."""
    site.commit(*(change(f"m{place}", f"text {place}") for place in range(5)))
    page.goto(f"{site.url}app/message/")
    expect(page.locator("#durable-state-bar")).to_have_text("Live")
    page.check("tr:has-text('text 4') input[type=checkbox]")
    site.commit(
        change("m1", "changed"),
        change("m2", "", "delete"),
        change("new", "fresh"),
        change("m4", "later"),
    )
    expect(page.locator("tr:has-text('m1')")).to_contain_text("changed")
    expect(page.locator("tr.ds-gone")).to_contain_text("text 2")
    expect(page.locator("tr:has-text('m4') input[type=checkbox]")).to_be_checked()
    page.click("text=1 new row: show")
    expect(page.locator("tr:has-text('fresh')")).to_be_visible()


def test_the_page_of_a_row_follows_it(site: Site, page: Page) -> None:
    """Until the stream deletes it."""
    site.commit(change("one", "before"))
    page.goto(f"{site.url}app/message/")
    page.click("tr:has-text('before') a")
    expect(page.locator("#durable-state-bar")).to_have_text("Live")
    site.commit(change("one", "after"), change("two", "unrelated"))
    expect(page.locator(".field-text .readonly")).to_have_text("after")
    site.commit(change("one", "", "delete"))
    expect(page.locator("#durable-state-bar")).to_have_text("The stream has deleted this row")


def test_the_list_of_streams_counts_on(site: Site, page: Page) -> None:
    """Messages, and how fast they come, measured in the page."""
    site.commit(change("first", "x"))
    page.goto(f"{site.url}durable_state/stream/")

    def cell(name: str) -> Any:
        return page.locator(f"tr:has-text('chat') [data-cell={name}]")

    before = int(cell("ordinal").inner_text())
    expect(cell("rate")).to_have_text("0", timeout=10_000)
    site.commit(*(change(f"k{place}", "x") for place in range(100)))
    expect(cell("ordinal")).to_have_text(str(before + 100), timeout=10_000)
    assert float(cell("rate").inner_text()) > 0
