"""Readers of the feed while its database cannot be reached: PostgreSQL, in earnest."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from django.db import connections
from django.test import Client as Browser

from durable_state.feed import outage
from durable_state.rest.feed import live
from tests.feed.support.away import Away, postgres_behind_a_proxy
from tests.feed.support.commits import commit, make_stream, message

from .support.reader import FEED
from .support.server import serving

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "postgres"])


@pytest.fixture
def away(configure: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> Iterator[Away]:
    """The streams are in a PostgreSQL that can be taken away."""
    configure(POLICY="tests.feed.support.away.OnPostgres", FEED_POLL_SECONDS=0.05)
    monkeypatch.setattr(outage, "_warned_at", float("-inf"))
    monkeypatch.setattr(outage, "RETRY_SECONDS", 0.1)
    monkeypatch.setattr(live, "RENEW_SECONDS", 0.05)
    with postgres_behind_a_proxy() as away:
        yield away


@pytest.fixture
def http(away: Away, make_user: Any) -> Iterator[httpx.Client]:
    """A client of the server, in which somebody is signed in."""
    browser = Browser()
    browser.force_login(make_user())
    cookies = {"sessionid": browser.cookies["sessionid"].value}
    with serving() as address, httpx.Client(base_url=address, cookies=cookies, timeout=10) as http:
        yield http


def test_a_new_request_is_told_to_come_back(
    away: Away, http: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    """503 with Retry-After from every view, and one line in the log for all of them."""
    make_stream(using="postgres")
    away.begin()
    entities = FEED.replace("feed", "entities/message")
    with caplog.at_level(logging.WARNING, "durable_state"):
        for url in (f"{FEED}?offset=-1", f"{FEED}?offset=now&live=sse", entities):
            answer = http.get(url, headers={"Accept": "text/html, */*"})
            assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
            assert answer.json() == {"detail": "The database does not answer now; try again."}
        assert http.head(FEED).status_code == 503
    assert caplog.text.count("no answer, trying again") == 1
    assert "Traceback" not in caplog.text
    away.end()
    assert http.get(FEED).status_code == 200


@pytest.mark.parametrize("mode", ["sse", "long-poll"])
def test_who_waits_goes_on(
    away: Away, http: httpx.Client, mode: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What is committed afterwards reaches them within the same request."""
    stream = make_stream(using="postgres")

    def break_off() -> None:
        time.sleep(0.3)
        away.begin()
        time.sleep(0.7)
        away.end()
        commit(stream, {("message", "a"): message("after")})
        connections.close_all()

    breaking = threading.Thread(target=break_off)
    breaking.start()
    asked = {"offset": "now", "live": mode}
    with caplog.at_level(logging.WARNING), http.stream("GET", FEED, params=asked) as answer:
        assert any("after" in line for line in answer.iter_lines())
    breaking.join()
    assert "no answer, trying again" in caplog.text
    assert "Traceback" not in caplog.text
