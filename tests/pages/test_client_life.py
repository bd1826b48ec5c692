"""A client's life: errors in it, its end, and what wakes it, in real Chromium."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page

from tests.admin.support.site import Site
from tests.wire import message

from .support.browser import FOLLOW, url

pytestmark = pytest.mark.timeout(120)

IMPORT = 'const { follow, subscribe } = await import("/static/durable_state/client.js");'


def run(page: Page, script: str) -> Any:
    """The result of the script, which has the client."""
    return page.evaluate(f"async () => {{ {IMPORT} {script} }}")


def test_a_callback_that_fails_ends_nothing(site: Site, signed_in: Page) -> None:
    """Its error is the page's; frames keep coming, and a lost socket is reopened."""
    page = signed_in.context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.add_init_script(
        """
        const Real = WebSocket; window.sockets = [];
        window.WebSocket = class extends Real {
          constructor(...all) { super(...all); sockets.push(this); }
        };
        """
    )
    page.goto(url(site, "/public/plain/"))
    run(
        page,
        """
        window.frames = [];
        window.failing = subscribe("chat", {
          onStatus: ({ state }) => { if (state !== "open") throw new Error(state); },
          onFrame: ({ items }) => { frames.push(...items); throw new Error("frame"); },
        });
        """,
    )
    page.evaluate(FOLLOW)
    page.wait_for_function("failing.status.state === 'open'")
    page.evaluate("sockets.at(-1).close()")
    page.wait_for_function("sockets.length === 2 && failing.status.state === 'open'")
    site.commit(message("failing", "still here"))
    page.wait_for_function("frames.some(({ key }) => key === 'failing')")
    page.wait_for_function("chat.rows('message').has('failing')")
    assert {"frame", "waiting", "connecting"} <= {each.removeprefix("Error: ") for each in errors}
    page.close()


def test_who_waits_for_what_never_comes_is_told(site: Site, page: Page) -> None:
    """`ready` and `awaitTxId` reject if the stream is refused or closed."""
    page.goto(url(site, "/public/plain/"))
    told = run(
        page,
        """
        const none = follow("none");
        const refused = await none.ready.catch(({ message }) => message);
        const chat = follow("chat");
        await chat.ready;
        const waiting = chat.awaitTxId("never").catch(({ message }) => message);
        chat.close();
        return [refused, await waiting, (await chat.ready) === chat];
        """,
    )
    assert told == [
        "The stream none is refused. There is no such stream.",
        "The stream chat is closed.",
        True,
    ]


def test_closed_and_followed_again_at_once(site: Site, page: Page) -> None:
    """Nothing of the old subscription is taken for the new one's, however often."""
    said: list[str] = []
    page.on("console", lambda each: said.append(each.text))
    page.goto(url(site, "/public/plain/"))
    page.evaluate(FOLLOW)
    page.evaluate("for (let n = 0; n < 30; n++) { chat.close(); chat.retry(); }")
    page.wait_for_function("chat.status.state === 'open'")
    site.commit(message("again", "and again"))
    page.wait_for_function("chat.rows('message').has('again')")
    page.wait_for_timeout(1000)
    assert page.evaluate("states.filter((state) => state === 'waiting')") == []
    assert said == []


@pytest.mark.parametrize(
    ("keys", "code"),
    [("Array.from({ length: 1001 }, String)", 1008), ("Array(900).fill('x'.repeat(90))", 1009)],
)
def test_a_subscription_that_is_too_large_is_refused_alone(
    site: Site, page: Page, keys: str, code: int
) -> None:
    """With its reason; the others on the page continue."""
    page.goto(url(site, "/public/plain/"))
    page.evaluate(FOLLOW)
    run(page, f"window.large = follow('chat', {{ keys: {keys} }});")
    page.wait_for_function("large.status.state === 'refused'")
    assert page.evaluate("large.status.code") == code
    assert page.evaluate("large.status.text")
    site.commit(message(f"beside-{code}", "x"))
    page.wait_for_function(f"chat.rows('message').has('beside-{code}')")
    assert "waiting" not in page.evaluate("states")


@pytest.mark.parametrize("empty", ["keys", "types"])
def test_an_empty_list_follows_nothing(site: Site, page: Page, empty: str) -> None:
    """It is refused with a reason, again and again, and not taken for everything."""
    page.goto(url(site, "/public/plain/"))
    told = run(
        page,
        f"""
        const nothing = follow("chat", {{ {empty}: [] }});
        const first = await nothing.ready.catch(({{ message }}) => message);
        nothing.retry();
        return [first, nothing.status.state, nothing.status.code, nothing.complete];
        """,
    )
    assert told[0].startswith("The stream chat is refused. An empty list")
    assert told[1:] == ["refused", 1008, False]


def test_without_a_websocket_route_the_console_says_what_to_do(site: Site, page: Page) -> None:
    """Once, however often the client tries."""
    said: list[str] = []
    page.on("console", lambda each: said.append(each.text))
    page.goto(url(site, "/public/plain/"))
    run(
        page,
        """
        window.tries = 0;
        const Real = WebSocket;
        window.WebSocket = class extends Real {
          constructor(...all) { super(...all); tries += 1; }
        };
        window.chat = follow("chat", { url: "/no/such/route/" });
        """,
    )
    page.wait_for_function("tries >= 4")
    told = [each for each in said if each.startswith("durable_state: nothing answers")]
    assert len(told) == 1
    assert "daphne" in told[0]


def test_an_abort_signal_closes(site: Site, page: Page) -> None:
    """Including one that was aborted before."""
    page.goto(url(site, "/public/plain/"))
    told = run(
        page,
        """
        const ending = new AbortController();
        const chat = follow("chat", { signal: ending.signal });
        await chat.ready;
        ending.abort();
        return [chat.status.state, follow("chat", { signal: ending.signal }).status.state];
        """,
    )
    assert told == ["closed", "closed"]


def test_nothing_is_left_behind(site: Site, page: Page) -> None:
    """Sockets with their own subprotocols leave no timer and no listener when they end."""
    page.add_init_script(
        """
        window.ticking = new Set();
        const [begin, end] = [setInterval, clearInterval];
        window.setInterval = (...all) => { const id = begin(...all); ticking.add(id); return id; };
        window.clearInterval = (id) => { ticking.delete(id); end(id); };
        """
    )
    page.goto(url(site, "/public/plain/"))
    left = run(
        page,
        """
        for (const token of ["a", "b", "c"]) {
          const chat = follow("chat", { protocols: ["durable-state", token] });
          await chat.ready;
          chat.close();
        }
        follow("chat", { protocols: ["durable-state", "d"] }).close();
        await new Promise((resolve) => setTimeout(resolve, 50));
        return ticking.size;
        """,
    )
    assert left == 0
