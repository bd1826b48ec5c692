"""A stream's URL is changed, while a worker runs or none does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from durable_state import operations
from durable_state.consumer.failures import record_stop
from durable_state.consumer.run import sync
from durable_state.errors import OperationRefused, RequestRefused
from durable_state.models import Intent, Replay, Status, Stream
from tests import leases
from tests.app.models import Message
from tests.servers.misbehaving import MisbehavingServer, Reply
from tests.servers.process import StreamServer
from tests.wire import insert

from .support.consuming import consuming, is_live, wait_until
from .support.remote import RemoteStream
from .support.serving import good, quiet

pytestmark = pytest.mark.django_db(transaction=True)

Add = Callable[..., Stream]


def texts(stream: Stream) -> dict[str, str]:
    """The shown rows."""
    rows = Message.objects.using(stream.using).filter(room=stream.name)
    return dict(rows.values_list("key", "text"))


def said(key: str, text: str) -> Any:
    """An insert of a message."""
    return insert("message", key, {"text": text})


def test_a_stream_that_has_moved_is_read_on(
    reference_server: StreamServer, add_stream: Add
) -> None:
    """A running worker adopts the new URL by itself, and continues from where it was."""
    old, new = (RemoteStream(reference_server.stream()) for _ in range(2))
    for remote in (old, new):
        remote.append([said("a", "1"), said("b", "1")])
    new.append([said("c", "of the new one")])
    stream = add_stream(old.url)
    with consuming(stream):
        wait_until(lambda: len(texts(stream)) == 2)
        operations.edit(stream, actor="ada", url=new.url, live="long-poll")
        wait_until(lambda: len(texts(stream)) == 3)
        new.append([said("d", "live")])
        wait_until(lambda: len(texts(stream)) == 4)
    stream.refresh_from_db()
    assert (stream.ordinal, stream.applied_count, stream.live) == (4, 4, "long-poll")
    entry = Intent.objects.get(verb="edit")
    assert entry.detail == f"{old.url} → {new.url}; live by long-poll"


def test_another_stream_under_the_new_url_is_folded_from_its_start(
    reference_server: StreamServer, add_stream: Add
) -> None:
    """Nothing of it is taken for the stream's next messages; rows that return are the same rows."""
    old, new = (RemoteStream(reference_server.stream()) for _ in range(2))
    old.append([said("a", "old"), said("b", "old")])
    new.append([said("b", "new"), said("c", "new"), said("d", "new")])
    stream = add_stream(old.url)
    sync(stream, until_up_to_date=True)
    kept = Message.objects.get(key="b").pk
    operations.edit(stream, actor="ada", url=new.url)
    sync(stream, until_up_to_date=True)
    assert texts(stream) == {"b": "new", "c": "new", "d": "new"}
    assert Message.objects.get(key="b").pk == kept
    assert (stream.ordinal, stream.status) == (3, "live")
    assert not Replay.objects.exists()


def test_a_stream_with_the_same_beginning_is_another_one(
    reference_server: StreamServer, add_stream: Add
) -> None:
    """Under a running worker: it differs in the last message that was read, long after the
    first.
    """
    old, new = (RemoteStream(reference_server.stream()) for _ in range(2))
    for number in range(30):
        old.append([said(f"k{number}", "same")])
        new.append([said(f"k{number}", "same" if number < 29 else "else")])
    new.append([said("more", "new")])
    stream = add_stream(old.url)
    with consuming(stream):
        wait_until(lambda: len(texts(stream)) == 30)
        operations.edit(stream, actor="ada", url=new.url)
        wait_until(lambda: len(texts(stream)) == 31)
        assert texts(stream)["k29"] == "else"


@pytest.mark.parametrize("status", [Status.HALTED, Status.CLOSED, Status.NEEDS_RESET])
def test_what_the_old_url_has_said_is_no_matter_of_the_new_one(
    reference_server: StreamServer, add_stream: Add, status: str
) -> None:
    """A stream that had stopped continues at once; a paused one stays paused."""
    remote = RemoteStream(reference_server.stream())
    remote.append([said("a", "1")])
    stream = add_stream("http://127.0.0.1:9/s", status=status, last_error="401", action="look")
    operations.edit(stream, actor="ada", url=remote.url)
    assert (stream.status, stream.last_error) == (Status.CATCHING_UP, "")
    sync(stream, until_up_to_date=True)
    assert texts(stream) == {"a": "1"}
    operations.pause(stream, actor="ada")
    operations.edit(stream, actor="ada", url="http://127.0.0.1:9/other")
    assert stream.paused


def test_another_way_to_follow_does_not_open_what_is_closed(add_stream: Add) -> None:
    """It is the same server, as it said itself."""
    closed = add_stream(status=Status.CLOSED)
    operations.edit(closed, actor="ada", live="long-poll")
    assert (closed.status, closed.live) == (Status.CLOSED, "long-poll")
    halted = add_stream(status=Status.HALTED, last_error="events as text/html")
    operations.edit(halted, actor="ada", live="long-poll")
    assert halted.status == Status.CATCHING_UP


def test_a_failure_at_the_old_url_does_not_stop_the_new_one(add_stream: Add) -> None:
    """A worker that fails before it knows about the change writes nothing."""
    stream = add_stream("http://127.0.0.1:9/old")
    assert leases.acquire(stream, "elsewhere:1:run:x") == 1
    held = Stream.objects.get(pk=stream.pk)
    operations.edit(stream, actor="ada", url="http://127.0.0.1:9/new")
    record_stop(held, 1, RequestRefused("401"), Status.HALTED)
    stream.refresh_from_db()
    assert (stream.status, stream.last_error) == ("new", "")


def test_a_url_that_is_not_allowed_changes_nothing(add_stream: Add, settings: Any) -> None:
    """An invalid one changes nothing either, and one that is set already is no change."""
    settings.DURABLE_STATE = {"ALLOWED_URLS": ["https://streams.example.org/"]}
    stream = add_stream("https://streams.example.org/a?key=secret")
    for url in ("https://elsewhere.example.org/", "nonsense", "https://streams.example.org/../b"):
        with pytest.raises(OperationRefused):
            operations.edit(stream, actor="ada", url=url)
    operations.edit(stream, actor="ada", url=stream.url, live="sse")
    stream.refresh_from_db()
    assert stream.url == "https://streams.example.org/a?key=secret"
    assert [each.detail for each in Intent.objects.all()] == ["nothing changed"]


def headers(stream: Stream) -> dict[str, str]:
    """A HEADERS function that looks the stream up."""
    return {"authorization": f"Bearer of {stream.name}"}


JSON = {"content-type": "application/json", "stream-next-offset": "5"}
ANSWERS = [
    (Reply(200, JSON, (b"[",), silent=True), True, "a stream of JSON messages"),
    (Reply(200, JSON | {"stream-closed": "true"}, (b"[]",)), True, "which is closed"),
    (Reply(404), False, "answered 404"),
    (Reply(401, {}, (b"who?",)), False, "HEADERS"),
    (Reply(500), False, "answered 500"),
    (Reply(200, {"content-type": "text/html"}, (b"<html>",)), False, "web page"),
    (Reply(302, {"location": "/v1/there?x=1"}), False, "/v1/there"),
    (Reply(reset=True), False, "A worker will try again."),
]


@pytest.mark.parametrize(("reply", "good", "words"), ANSWERS, ids=lambda each: str(each)[:25])
def test_a_server_is_asked_once_and_said_what_it_answers(
    misbehaving_server: MisbehavingServer,
    add_stream: Add,
    settings: Any,
    reply: Reply,
    good: bool,
    words: str,
) -> None:
    """In one line, with one request that has the stream's headers."""
    settings.DURABLE_STATE = {"HEADERS": f"{__name__}.headers"}
    misbehaving_server.replies(reply)
    stream = add_stream(misbehaving_server.url + "/s?token=secret")
    found = operations.probe(stream)
    assert (found.good, "\n" in found.text) == (good, False), found.text
    assert words in found.text
    assert "secret" not in found.text
    (asked,) = misbehaving_server.asked
    assert asked.headers["authorization"] == f"Bearer of {stream.name}"


def test_a_server_that_does_not_answer_is_not_waited_for(
    misbehaving_server: MisbehavingServer, add_stream: Add, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if it keeps the connection busy; the same for one that is not there."""
    monkeypatch.setattr(operations.probing, "SECONDS", 0.5)
    page = {"content-type": "text/html"}
    misbehaving_server.replies(Reply(403, page, (b".",) * 500, framing="chunked", pause=0.1))
    found = operations.probe(add_stream(misbehaving_server.url + "/s"))
    assert (found.good, "within 0.5 s" in found.text) == (False, True), found.text
    found = operations.probe(add_stream("http://127.0.0.1:9/s"))
    assert (found.good, "cannot be reached" in found.text) == (False, True), found.text


def test_how_long_a_server_may_be_silent_is_changed(
    misbehaving_server: MisbehavingServer, add_stream: Add
) -> None:
    """A running worker adopts it; an invalid number of seconds is refused."""
    replies = good([])
    misbehaving_server.reply = lambda asked: quiet(asked, replies)
    stream = add_stream(misbehaving_server.url + "/s", live="long-poll")
    with consuming(stream):
        wait_until(lambda: is_live(stream))
        operations.edit(stream, actor="ada", heartbeat_seconds=1)
        # After a longer silence, a plain request checks the server.
        before = len(misbehaving_server.asked)
        wait_until(lambda: len(misbehaving_server.asked) > before + 3)
        operations.edit(stream, actor="ada", heartbeat_seconds=0)
    stream.refresh_from_db()
    assert stream.heartbeat_seconds is None
    details = Intent.objects.filter(verb="edit").values_list("detail", flat=True)
    assert list(details) == ["silent for the usual seconds at most", "silent for 1 seconds at most"]
    with pytest.raises(OperationRefused, match="heartbeat_seconds"):
        operations.edit(stream, actor="ada", heartbeat_seconds=-4)
