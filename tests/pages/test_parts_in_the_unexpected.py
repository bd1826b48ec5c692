"""Live parts when something other than a commit happens, in real Chromium."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, Route, expect

from tests.admin.support.site import Site
from tests.wire import message

from .support.browser import shell, url

pytestmark = pytest.mark.timeout(120)


def opened(page: Page, site: Site, path: str, name: str) -> None:
    """Goes to the page, and waits until its part follows."""
    page.goto(url(site, path))
    expect(page.locator(f"#{name}")).to_have_attribute("data-live-state", "open")


def test_what_a_part_follows_may_change(site: Site, page: Page) -> None:
    """Its keys are those that the server has named last."""
    site.commit(message("pointer", "m1"), message("m2", "before"))
    opened(page, site, "/public/pointed/", "pointed")
    site.commit(message("pointer", "m2"))
    expect(page.locator("[data-key=m2]")).to_have_text("before")
    site.commit(message("m2", "after"))
    expect(page.locator("[data-key=m2]")).to_have_text("after")


def test_a_part_that_was_rendered_before_a_commit_and_inserted_after_it(
    site: Site, page: Page
) -> None:
    """It shows that commit, although the page's other parts heard of it already; and it says
    that it is open.
    """
    opened(page, site, "/public/whole/", "whole")
    page.evaluate(
        """async () => {
          const text = await (await fetch("/public/whole/")).text();
          const page = new DOMParser().parseFromString(text, "text/html");
          window.late = document.importNode(page.getElementById("whole"), true);
        }"""
    )
    site.commit(message("between", "not missed"))
    expect(page.locator("#whole")).to_contain_text("not missed")
    page.wait_for_timeout(700)
    page.evaluate("document.body.append(late)")
    expect(page.locator("[data-live]").last).to_contain_text("not missed")
    expect(page.locator("[data-live-state=open]")).to_have_count(2)


def test_a_server_that_does_not_answer_is_asked_again(site: Site, page: Page) -> None:
    """However long the server would leave the request waiting."""
    page.add_init_script(
        "const real = AbortSignal.timeout;AbortSignal.timeout = () => real.call(AbortSignal, 2000);"
    )
    asked: list[Route] = []

    def answer(route: Route) -> None:
        if not route.request.is_navigation_request():
            asked.append(route)
        if len(asked) != 1:
            route.continue_()

    page.route("**/public/whole/", answer)
    opened(page, site, "/public/whole/", "whole")
    site.commit(message("unanswered", "in the end"))
    expect(page.locator("#whole")).to_contain_text("in the end", timeout=20_000)
    assert len(asked) >= 2


def test_a_strict_content_security_policy(site: Site, page: Page) -> None:
    """No inline script or style, and HTML only through our policy of Trusted Types."""
    said: list[str] = []
    page.on("console", lambda each: said.append(each.text))
    opened(page, site, "/public/whole/?strict", "whole")
    site.commit(message("strict", "is shown"))
    expect(page.locator("#whole")).to_contain_text("is shown")
    assert said == []


def test_a_path_that_looks_like_another_site(site: Site, page: Page) -> None:
    """Behind two slashes; a part is fetched from its own site, whoever made the link."""
    asked: list[str] = []

    def answer(route: Route) -> None:
        asked.append(route.request.url)
        route.fulfill(
            body='<div id="whole" data-live=\'{"part":"whole"}\'>of another site</div>',
            headers={"Access-Control-Allow-Origin": "*", "Access-Control-Allow-Headers": "*"},
        )

    page.route("http://evil.test/**", answer)
    opened(page, site, "//evil.test/whole/", "whole")
    site.commit(message("slashes", "of this site"))
    expect(page.locator("#whole")).to_contain_text("of this site")
    assert asked == []


@pytest.mark.parametrize("swap", ["outerHTML", "htmx:afterSwap", "htmx:before:settle"])
def test_what_another_script_has_swapped_in_is_not_doubled(
    site: Site, page: Page, swap: str
) -> None:
    """As htmx (2 and 4) does with the server's answer to a click: the next update continues
    from there.
    """
    site.commit(message("m4", "plain"), message("m5", "plain"))
    opened(page, site, "/board/", "board")
    page.evaluate(
        """(swap) => {
          const row = document.querySelector("[data-key=m4]");
          if (swap === "outerHTML") {
            row.outerHTML = row.outerHTML.replace("plain", "swapped");
          } else {
            row.innerHTML = row.innerHTML.replace("plain", "swapped");
            const detail = { target: row, newContent: [...row.childNodes] };
            row.dispatchEvent(new CustomEvent(swap, { bubbles: true, detail }));
          }
        }""",
        swap,
    )
    site.commit(message("m4", "committed"))
    row = page.locator("#board [data-key=m4]")
    expect(row.locator("span")).to_have_text("committed")
    expect(row).to_have_count(1)
    expect(row.locator("input")).to_have_count(1)


def test_one_stream_of_several_goes(site: Site, page: Page) -> None:
    """The part shows what is left, and continues with that."""
    shell(
        site,
        "from durable_state.models import Stream;"
        "Stream.objects.create(name='second', url='http://127.0.0.1:1/x')",
    )
    page.goto(url(site, "/public/two/"))
    # Nobody consumes the second one.
    expect(page.locator("#two")).to_have_attribute("data-live-state", "catching-up")
    before = page.inner_text("#two")
    shell(
        site,
        "from durable_state.models import Stream; Stream.objects.filter(name='second').delete()",
    )
    expect(page.locator("#two")).not_to_have_text(before, timeout=20_000)
    expect(page.locator("#two")).to_have_attribute("data-live-state", "open")
    before = page.inner_text("#two")
    site.commit(message("second", "x"))
    expect(page.locator("#two")).not_to_have_text(before)
