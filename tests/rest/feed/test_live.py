"""Long-poll and event streams through a real ASGI server."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import Any, ClassVar

import httpx
import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.middleware.gzip import GZipMiddleware
from django.test import Client as Browser
from django.test import RequestFactory
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from durable_state.feed import subscribe
from durable_state.models import Status, Stream
from durable_state.rest.feed import FeedView, live, views
from durable_state.rest.feed.answers import next_cursor
from durable_state.rest.feed.caller import name_of
from durable_state.rest.feed.reading import Reading
from tests.feed.support.commits import commit, make_stream, message
from tests.feed.support.following import everything
from tests.feed.support.pages import set_page_rows

from .support.reader import FEED
from .support.server import serving

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def ada(make_user: Any) -> User:
    """A user who sees the messages."""
    user: User = make_user("app.view_message")
    return user


@pytest.fixture
def http(
    ada: User, configure: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> Iterator[httpx.Client]:
    """A client of the server, in which she is signed in."""
    configure(FEED_POLL_SECONDS=0.02, FEED_SUBSCRIBERS=4)
    monkeypatch.setattr(live, "RENEW_SECONDS", 0.1)
    browser = Browser()
    browser.force_login(ada)
    cookie = browser.cookies["sessionid"].value
    with (
        serving() as address,
        httpx.Client(base_url=address, cookies={"sessionid": cookie}, timeout=10) as client,
    ):
        yield client


def later(do: Callable[[], Any]) -> threading.Timer:
    """Does it while a request waits."""
    from django.db import connections

    def done() -> None:
        try:
            do()
        finally:
            connections.close_all()

    timer = threading.Timer(0.2, done)
    timer.start()
    return timer


def events_of(lines: Iterator[str]) -> Iterator[tuple[str, Any]]:
    """The events, as (name, content of the data)."""
    name, data = "", []
    for line in lines:
        if line.startswith("event: "):
            name = line[7:]
        elif line.startswith("data:"):
            data.append(line[5:])
        elif not line:
            yield name, json.loads("\n".join(data))
            name, data = "", []


def tail_of(http: httpx.Client) -> str:
    """The offset of the feed's end."""
    return http.head(FEED).headers["Stream-Next-Offset"]


def test_a_long_poll_waits_for_what_comes(http: httpx.Client) -> None:
    """200 with changes and a cursor that grows; 204 if nothing came; at once if there are
    changes already.
    """
    stream = make_stream()
    tail = tail_of(http)
    timer = later(lambda: commit(stream, {("message", "a"): message("x")}, txids=["t"]))
    asked = {"offset": tail, "live": "long-poll"}
    answer = http.get(FEED, params=asked)
    timer.join()
    assert answer.status_code == 200
    assert [item["headers"] for item in answer.json()] == [{"operation": "update", "txid": "t"}]
    assert answer.headers["Stream-Up-To-Date"] == "true"
    assert answer.headers["Cache-Control"] == "private, no-cache"
    cursor = answer.headers["Stream-Cursor"]
    began = time.monotonic()
    again = http.get(FEED, params=asked | {"cursor": cursor})
    assert time.monotonic() - began < live.LONG_POLL_SECONDS / 2
    assert again.json() == answer.json()
    assert int(again.headers["Stream-Cursor"]) > int(cursor)
    assert http.get(FEED, params=asked | {"offset": "-1"}).json()[0]["key"] == "a"


def test_a_commit_without_values_is_read_from_the_rows(http: httpx.Client) -> None:
    """Even if its first changes, which are deletions, need none."""
    stream = make_stream()
    gone = {("message", f"a{n:04}"): None for n in range(600)}
    tail = tail_of(http)
    timer = later(lambda: commit(stream, gone | {("message", "b"): message("x")}))
    answer = http.get(FEED, params={"offset": tail, "live": "long-poll"})
    timer.join()
    assert len(answer.json()) == 601
    assert answer.json()[-1]["value"] == message("x")


def test_a_long_poll_that_waits_for_nothing(
    http: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """204, with the offset; changes that its reader cannot see advance the offset and answer
    nothing.
    """
    monkeypatch.setattr(live, "LONG_POLL_SECONDS", 0.5)
    stream = make_stream()
    tail = tail_of(http)
    timer = later(lambda: commit(stream, {("setting", "s"): 1}, txids=["hidden"]))
    answer = http.get(FEED, params={"offset": "now", "live": "long-poll"})
    timer.join()
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["Stream-Up-To-Date"] == "true"
    assert answer.headers["Stream-Cursor"].isdigit()
    assert answer.headers["Stream-Next-Offset"] > tail


def test_events(http: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """The snapshot, then each commit, a heartbeat between them, and an end after a while."""
    monkeypatch.setattr(live, "HEARTBEAT_SECONDS", 0.3)
    monkeypatch.setattr(live, "EVENTS_SECONDS", 2.0)
    stream = make_stream()
    commit(stream, {("message", "a"): message("line\nbreak\r\n\nevent: control")})
    with http.stream("GET", FEED, params={"offset": "-1", "live": "sse"}) as answer:
        assert answer.headers["Content-Type"] == "text/event-stream"
        assert "no-cache" in answer.headers["Cache-Control"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        found = events_of(answer.iter_lines())
        name, items = next(found)
        assert (name, items[0]["key"]) == ("data", "a")
        assert items[0]["value"]["text"] == "line\nbreak\r\n\nevent: control"
        name, control = next(found)
        assert (name, control["upToDate"]) == ("control", True)
        name, heartbeat = next(found)
        assert (name, heartbeat["streamNextOffset"]) == ("control", control["streamNextOffset"])
        commit(stream, {("message", "a"): None})
        rest = list(found)
    assert [name for name, _ in rest if name == "data"] == ["data"]
    deleted = next(items for name, items in rest if name == "data")
    assert deleted[0]["headers"] == {"operation": "delete"}
    assert rest[-1][1]["streamNextOffset"] > control["streamNextOffset"]


def test_events_from_now(http: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first tells the tail, and nothing of what was before."""
    monkeypatch.setattr(live, "EVENTS_SECONDS", 0.0)
    commit(make_stream(), {("message", "a"): message("before")})
    answer = http.get(FEED, params={"offset": "now", "live": "sse"})
    ((name, control),) = events_of(answer.iter_lines())
    assert name == "control"
    assert (control["streamNextOffset"], control["upToDate"]) == (tail_of(http), True)
    assert control["streamCursor"].isdigit()


@pytest.mark.parametrize("mode", [None, "sse", "long-poll"])
def test_now_on_a_closed_stream(http: httpx.Client, mode: str | None) -> None:
    """The end at once, with the last offset."""
    commit(make_stream(), {("message", "a"): message("before")}, status=Status.CLOSED)
    tail = tail_of(http)
    answer = http.get(FEED, params={"offset": "now"} | ({"live": mode} if mode else {}))
    if mode == "sse":
        ((_, control),) = events_of(answer.iter_lines())
        assert control == {"streamNextOffset": tail, "streamClosed": True, "upToDate": True}
        return
    assert (answer.status_code, answer.text) == ((204, "") if mode else (200, "[]"))
    assert answer.headers["Stream-Closed"] == answer.headers["Stream-Up-To-Date"] == "true"
    assert answer.headers["Stream-Next-Offset"] == tail


@pytest.mark.parametrize("given", ["", "x", "0", "1", str(10**12), "9" * 15])
def test_a_cursor_never_goes_back(given: str) -> None:
    """It is more than the one that the client sends, also where that is from the future."""
    cursor = next_cursor(given)
    assert cursor.isdigit()
    assert int(cursor) > (int(given) if given.isdigit() else 0)


@pytest.mark.parametrize("mode", ["sse", "long-poll"])
def test_a_closed_stream_ends_it(
    http: httpx.Client, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stream that is closed while its reader waits, at once, and one that was closed before."""
    monkeypatch.setattr(live, "RENEW_SECONDS", 1000)
    make_stream()
    timer = later(lambda: Stream.objects.update(status=Status.CLOSED))
    for _ in range(2):
        answer = http.get(FEED, params={"offset": "now", "live": mode})
        if mode == "long-poll":
            assert (answer.status_code, answer.headers["Stream-Closed"]) == (204, "true")
        else:
            assert '"streamClosed":true' in answer.text
            assert answer.text.count("streamCursor") == answer.text.count("event: control") - 1
    timer.join()


@pytest.mark.parametrize("mode", ["sse", "long-poll"])
@pytest.mark.parametrize("end", ["signed out", "permission", "inactive", "stream"])
def test_who_loses_access_is_not_served_on(
    http: httpx.Client, ada: User, mode: str, end: str
) -> None:
    """Within a second here, whatever ended it; and the next request is refused."""
    make_stream()

    def lose() -> None:
        if end == "signed out":
            Session.objects.all().delete()
        elif end == "permission":
            ada.user_permissions.clear()
        elif end == "inactive":
            User.objects.update(is_active=False)
        else:
            Stream.objects.all().delete()

    timer = later(lose)
    began = time.monotonic()
    asked = {"offset": "now", "live": mode}
    answer = http.get(FEED, params=asked)
    timer.join()
    assert time.monotonic() - began < 3
    assert answer.status_code in (200, 204, 404)
    assert http.get(FEED, params=asked).status_code in (401, 403, 404)


class Tokens(BaseAuthentication):
    """Signed in by tokens that can be revoked."""

    users: ClassVar[dict[str, int]] = {}

    def authenticate(self, request: Any) -> tuple[User, str] | None:
        """The user of the token; none without one."""
        token = request.headers.get("Authorization", "")
        if not token:
            return None
        if token not in self.users:
            raise AuthenticationFailed
        return User.objects.get(pk=self.users[token]), token


@pytest.mark.parametrize("mode", ["sse", "long-poll"])
def test_a_token_that_is_revoked_ends_it(
    http: httpx.Client, ada: User, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of any kind: its authentication class is asked again."""
    monkeypatch.setattr(FeedView, "authentication_classes", [Tokens])
    monkeypatch.setattr(Tokens, "users", {"one": ada.pk})
    make_stream()
    http.headers["Authorization"] = "one"
    asked = {"offset": "now", "live": mode}
    timer = later(Tokens.users.clear)
    began = time.monotonic()
    answer = http.get(FEED, params=asked)
    timer.join()
    assert time.monotonic() - began < 3
    assert answer.status_code in (200, 204)
    assert http.get(FEED, params=asked).status_code in (401, 403)


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("10.0.0.7", "address 10.0.0.7"),
        ("2001:db8::1:2:3:4", "address 2001:db8::/64"),
        ("2001:db8::5%eth0", "address 2001:db8::/64"),
        ("", "somebody"),
    ],
)
def test_who_shares_places(address: str, name: str) -> None:
    """An IPv6 network counts as one, because whoever has an address there has all of them."""
    request = Request(RequestFactory().get("/", REMOTE_ADDR=address))
    assert name_of(request) == name


def test_too_many_are_told_so(http: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """429 with a time for the next attempt, beyond one follower's share of FEED_SUBSCRIBERS."""
    monkeypatch.setattr(live, "LONG_POLL_SECONDS", 0)
    make_stream()
    asked = {"offset": "now", "live": "sse"}
    with http.stream("GET", FEED, params=asked), http.stream("GET", FEED, params=asked):
        refused = http.get(FEED, params=asked)
    assert refused.status_code == 429
    assert refused.headers["Retry-After"] == "10"
    deadline = time.monotonic() + 5
    while http.get(FEED, params=asked | {"live": "long-poll"}).status_code == 429:
        assert time.monotonic() < deadline, "The places of those who left stay taken."


def test_who_waits_holds_no_thread(http: httpx.Client) -> None:
    """However many wait: the threads that Django began for their requests have ended."""
    make_stream()

    def count() -> int:
        return len([each for each in threading.enumerate() if "ThreadPool" in each.name])

    asked = {"offset": "now", "live": "sse"}
    with http.stream("GET", FEED, params=asked), http.stream("GET", FEED, params=asked):
        deadline = time.monotonic() + 5
        while count() > 1 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert count() <= 1  # the hub's


async def pages(renew: Callable[[Any], bool]) -> tuple[Stream, Any]:
    """The events of a snapshot of three rows."""
    stream = await sync_to_async(make_stream)()
    await sync_to_async(commit)(stream, {("message", f"m{n}"): message("x") for n in range(3)})
    await stream.arefresh_from_db()
    read = Reading(stream, everything(stream), "user 1")
    begin = sync_to_async(partial(read.begin, "-1"))
    return stream, await live.event_stream(read, begin, "user 1", renew, "")


async def test_who_loses_access_within_a_snapshot_gets_no_more_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Even while there is always something to send."""
    monkeypatch.setattr(live, "RENEW_SECONDS", 0)
    set_page_rows(monkeypatch, 1)
    _, texts = await pages(lambda _: False)
    assert [text.count("insert") async for text in texts] == [1]


async def test_the_end_of_a_snapshot_is_not_up_to_date_where_more_was_committed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The page that has the newer changes says so."""
    set_page_rows(monkeypatch, 2)
    stream, texts = await pages(lambda _: True)
    found = []
    async with subscribe(stream) as hub:
        async for text in texts:
            found.append(text)
            if len(found) == 1:
                await sync_to_async(commit)(stream, {("message", "m0"): None})
                await hub.refresh()
            if "upToDate" in text:
                break
    assert "delete" in found[-1]
    await texts.aclose()


def test_events_are_not_compressed() -> None:
    """Django's middleware would compress each event separately, and browsers would read only the
    first.
    """

    async def texts() -> AsyncIterator[str]:
        yield "data:x\n\n"

    response = views._event_response(texts())
    request = RequestFactory().get(FEED, headers={"accept-encoding": "gzip"})
    GZipMiddleware(lambda _: response)(request)
    assert response["Content-Encoding"] == "identity"
