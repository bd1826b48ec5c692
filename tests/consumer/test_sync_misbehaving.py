"""What a person reads in the status when a server misbehaves, and that nothing is lost."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from typing import Any

import pytest

from durable_state import operations
from durable_state.consumer.run import sync
from durable_state.errors import OperationRefused, Unavailable
from durable_state.models import Status, Stream
from tests.servers.misbehaving import Asked, MisbehavingServer, Reply, StreamReplies
from tests.tables import check, rows_of
from tests.wire import encode

from .support.consuming import consuming, wait_until
from .support.serving import ITEMS, good, quiet

pytestmark = pytest.mark.django_db(transaction=True)

Add = Callable[..., Stream]


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        (Reply(500, {}, (b"the disk is full",)), "answered 500 (the disk is full)"),
        (Reply(503), "answered 503"),
        (Reply(429, {"Retry-After": "0"}), "answered 429"),
        (Reply(404), "answered 404"),
        (Reply(reset=True), "broke off its answer"),
        (Reply(200, {"Content-Type": "application/json"}, (b"[]",)), "without Stream-Next-Offset"),
        (Reply(204), "without Stream-Next-Offset"),
    ],
)
def test_what_passes_is_waited_for(
    misbehaving_server: MisbehavingServer, add_stream: Add, caplog: Any, trouble: Reply, said: str
) -> None:
    """The status says what is wrong and that nobody has to act; one line is logged; the stream
    continues by itself.
    """
    server, replies = misbehaving_server, good(page=1)
    stream = add_stream(server.url + "/s?token=secret", live="long-poll")
    server.reply = lambda asked: trouble if len(server.asked) in (2, 3) else quiet(asked, replies)
    seen: list[operations.StreamReport] = []

    def in_trouble() -> bool:
        report = operations.report(stream)
        if report.status in ("retrying", "missing"):
            seen.append(report)
        return report.status == "live"

    with consuming(stream):
        wait_until(in_trouble)
    check(stream, ITEMS)
    assert said in seen[0].last_error
    assert seen[0].action
    assert not seen[0].stuck
    assert "secret" not in repr(seen) + caplog.text
    warnings = [
        record
        for record in caplog.records
        if record.levelno >= logging.WARNING and "refused:" not in record.msg
    ]
    assert len(warnings) == 1, warnings
    report = operations.report(stream)
    assert (report.last_error, report.to_json()["last_error"]) == ("", "")


@pytest.mark.parametrize(
    ("trouble", "said", "action"),
    [
        (Reply(400, {}, (b"bad offset",)), "answered 400 (bad offset)", "reset the stream"),
        (Reply(401), "answered 401", "HEADERS"),
        (Reply(403), "answered 403", "HEADERS"),
        (Reply(409), "answered 409", ""),
        (Reply(413), "answered 413", "HEADERS"),
        (
            Reply(302, {"Location": "https://elsewhere.example/s"}),
            "https://elsewhere.example",
            "with manage.py durable_state edit",
        ),
        (Reply(200, {"Content-Type": "text/html"}, (b"<html>",)), "text/html", "Check the URL"),
    ],
)
def test_what_needs_a_person_halts(
    misbehaving_server: MisbehavingServer,
    add_stream: Add,
    caplog: Any,
    trouble: Reply,
    said: str,
    action: str,
) -> None:
    """In one clear line, and the server is not asked again until somebody resumes; then nothing
    is missing.
    """
    server, replies = misbehaving_server, good(page=1)
    stream = add_stream(server.url + "/s?token=secret")
    server.reply = lambda asked: trouble if len(server.asked) == 3 else replies(asked)
    for _ in range(2):
        with pytest.raises(OperationRefused) as refused:
            sync(stream, until_up_to_date=True)
        assert len(server.asked) == 3
    report = operations.report(stream)
    assert (report.status, report.stuck) == ("halted", True)
    assert said in report.last_error
    assert action in report.action
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
    assert "secret" not in str(refused.value) + repr(report) + caplog.text
    operations.resume(stream, actor="test")
    sync(stream, until_up_to_date=True)
    check(stream, ITEMS)


def test_what_the_server_no_longer_holds_needs_a_reset(
    misbehaving_server: MisbehavingServer, add_stream: Add
) -> None:
    """The rows are kept until the stream, as it is now, has been folded again."""
    server, rest = misbehaving_server, ITEMS[40:]
    stream = add_stream(server.url + "/s")
    server.reply = good(ITEMS[:40])
    sync(stream, until_up_to_date=True)
    before = rows_of(stream, pks=True)
    server.reply = lambda asked: Reply(410)
    with pytest.raises(OperationRefused, match="needs a reset"):
        sync(stream, until_up_to_date=True)
    report = operations.report(stream)
    assert (report.status, report.stuck) == ("needs-reset", True)
    assert "410" in report.last_error
    assert "reset" in report.action
    assert rows_of(stream, pks=True) == before
    with pytest.raises(OperationRefused):
        operations.resume(stream, actor="test")
    server.reply = good(rest)
    operations.reset(stream, actor="test")
    assert rows_of(stream, pks=True) == before
    sync(stream, until_up_to_date=True)
    check(stream, rest)


def test_a_server_that_is_not_there_is_waited_for(add_stream: Add) -> None:
    """Its rows, and what is wrong, can be seen; an operator's pause is noticed while it waits."""
    stream = add_stream("http://127.0.0.1:9/s")
    with consuming(stream) as running:
        wait_until(lambda: operations.report(stream).status == "retrying")
        assert "http://127.0.0.1:9/s cannot be reached" in operations.report(stream).last_error
    assert "is paused" in str(running.error)


def test_retry_after_is_obeyed_and_resume_ends_the_waiting(
    misbehaving_server: MisbehavingServer, add_stream: Add
) -> None:
    """An operator who knows that the server is back does not have to wait as long as it asked
    for before.
    """
    server, replies = misbehaving_server, good()
    stream = add_stream(server.url + "/s", live="long-poll")
    server.reply = lambda asked: Reply(429, {"Retry-After": "600"})
    with consuming(stream):
        wait_until(lambda: operations.report(stream).status == "retrying")
        time.sleep(1)
        assert len(server.asked) == 1
        stream.refresh_from_db()
        assert stream.retry_at is not None
        assert 590 < (stream.retry_at - stream.since).total_seconds() < 620
        server.reply = lambda asked: quiet(asked, replies)
        operations.resume(stream, actor="test")
        wait_until(lambda: operations.report(stream).status == "live", 5)
    check(stream, ITEMS)


def test_another_url_is_noticed_while_the_old_one_is_quiet(
    misbehaving_server: MisbehavingServer, add_stream: Add
) -> None:
    """Nobody has to restart a worker because a stream has moved."""
    server, replies = misbehaving_server, good()
    stream = add_stream(server.url + "/old", live="long-poll")
    server.reply = lambda asked: quiet(asked, replies)
    with consuming(stream):
        wait_until(lambda: operations.report(stream).status == "live")
        Stream.objects.update(url=server.url + "/new")
        wait_until(lambda: any(asked.path == "/new" for asked in server.asked), 5)
    check(stream, ITEMS)


@pytest.mark.parametrize("seed", [1, 2])
def test_bodies_cut_anywhere_lose_nothing(
    misbehaving_server: MisbehavingServer,
    add_stream: Add,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    seed: int,
) -> None:
    """Every message once, however often the answer breaks off, by length, by chunk or by a
    closed connection.
    """
    settings.DURABLE_STATE = {"BATCH_ROWS": 4}
    monkeypatch.setattr("durable_state.transport.backoff.CAP", 0.02)
    server, replies, chance = misbehaving_server, good(), random.Random(seed)

    def reply(asked: Asked) -> Reply:
        whole = replies(asked)
        size = len(whole.pieces[0])
        if len(server.asked) > 20:
            return whole
        framing = chance.choice(["length", "chunked", "close"])
        return Reply(
            200,
            whole.headers,
            whole.pieces,
            framing=framing,  # type: ignore[arg-type]
            cut=chance.randrange(1, size),
        )

    server.reply = reply
    stream = add_stream(server.url + "/s")
    sync(stream, until_up_to_date=True)
    check(stream, ITEMS)


def test_a_silent_event_stream_is_a_dead_one(
    misbehaving_server: MisbehavingServer, add_stream: Add
) -> None:
    """It is opened again where it ended, and whatever no control event confirmed is read again."""
    server, replies = misbehaving_server, StreamReplies([[encode(item) for item in ITEMS[:40]]])
    whole = StreamReplies([*replies.groups, [encode(item) for item in ITEMS[40:]]])

    def reply(asked: Asked) -> Reply:
        if asked.query.get("live") != "sse":
            return (whole if len(server.asked) > 4 else replies)(asked)
        unconfirmed = b"event: data\ndata: [%b]\n\n" % encode(ITEMS[40])
        return Reply(
            200,
            {"Content-Type": "text/event-stream"},
            (unconfirmed,),
            framing="chunked",
            cut=len(unconfirmed),
            silent=True,
        )

    server.reply = reply
    stream = add_stream(server.url + "/s", heartbeat_seconds=1)
    with consuming(stream):
        wait_until(lambda: Stream.objects.filter(ordinal=80, status=Status.LIVE).exists())
    check(stream, ITEMS)


def test_live_requests_that_always_fail_are_not_hammered(
    misbehaving_server: MisbehavingServer, add_stream: Add
) -> None:
    """Although each catch-up in between succeeds, which keeps the rows up to date."""
    server, replies = misbehaving_server, good()
    server.reply = lambda asked: Reply(500) if "live" in asked.query else replies(asked)
    stream = add_stream(server.url + "/s")
    with consuming(stream):
        wait_until(lambda: Stream.objects.filter(failures__gte=4).exists())
        check(stream, ITEMS)


def test_verify_goes_on_after_failures(
    misbehaving_server: MisbehavingServer, add_stream: Add
) -> None:
    """As long as something comes between them; a server that is away is named, with what to do."""
    server, replies = misbehaving_server, good(page=1)
    stream = add_stream(server.url + "/s", live="long-poll")
    server.reply = lambda asked: quiet(asked, replies)
    sync(stream, until_up_to_date=True)

    server.asked.clear()
    server.reply = lambda asked: Reply(503) if len(server.asked) % 2 else quiet(asked, replies)
    found = operations.verify(stream)
    assert found.equal
    assert found.ordinal == len(ITEMS)

    server.reply = lambda asked: Reply(503)
    with pytest.raises(Unavailable, match=r"answered 503\. Try again later\."):
        operations.verify(stream)


def test_sync_of_a_halted_stream_says_how_it_continues(
    misbehaving_server: MisbehavingServer, add_stream: Add
) -> None:
    """It asks nothing again, even if the cause is gone by now."""
    server = misbehaving_server
    stream = add_stream(server.url + "/s", live="long-poll")
    server.reply = lambda asked: Reply(400)
    with pytest.raises(OperationRefused, match=r"Then: durable_state resume c\d+$"):
        sync(stream, until_up_to_date=True)

    server.asked.clear()
    server.reply = good()
    with pytest.raises(OperationRefused, match=r"answered 400.*durable_state resume c\d+$"):
        sync(stream, until_up_to_date=True)
    assert not server.asked
    operations.resume(stream, actor="test")
    sync(stream, until_up_to_date=True)
    check(stream, ITEMS)
