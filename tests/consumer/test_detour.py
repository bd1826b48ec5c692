"""If live requests are spoilt, the tail is still followed, and `status` says how."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest

from durable_state import operations
from durable_state.models import Status, Stream
from durable_state.transport import following, request, session
from tests.servers.misbehaving import Asked, MisbehavingServer, Reply, StreamReplies
from tests.tables import check
from tests.wire import encode

from .support.consuming import consuming, wait_until
from .support.serving import ITEMS

pytestmark = pytest.mark.django_db(transaction=True)

Add = Callable[..., Stream]

FOUND_SECONDS = 40.0
"""Several attempts, each later than the one before, on a slow machine."""
AT_ONCE_SECONDS = 10.0
"""A long-poll's answer of 0.3 s and a commit, on a slow machine."""


class Growing:
    """A stream on a server whose events are spoilt, and which handles long-polls properly."""

    def __init__(self, server: MisbehavingServer, spoilt: Reply) -> None:
        self.groups = [[encode(item) for item in ITEMS[:40]]]
        self._server, self._spoilt = server, spoilt
        server.reply = self._reply

    def _reply(self, asked: Asked) -> Reply:
        if asked.query.get("live") == "sse":
            return self._spoilt
        stream = StreamReplies(list(self.groups))
        reply = stream(asked)
        if "live" not in asked.query or reply.pieces != (b"[]",):
            return reply
        return Reply(204, reply.headers, wait=0.3)


@pytest.mark.parametrize(
    ("spoilt", "said"),
    [
        (Reply(200, {"Content-Type": "text/event-stream"}, (b"x",), wait=5.0), "held back"),
        (Reply(200, {"Content-Type": "text/event-stream"}), "before their first event"),
        (Reply(502), "before their first event"),
    ],
    ids=["held back", "cut", "refused by a proxy"],
)
def test_events_that_do_not_come_through(
    misbehaving_server: MisbehavingServer,
    add_stream: Add,
    monkeypatch: pytest.MonkeyPatch,
    spoilt: Reply,
    said: str,
) -> None:
    """The stream is live, and whatever is appended is shown at once; nobody has to act."""
    monkeypatch.setattr(request, "FIRST_EVENT", 0.5)
    monkeypatch.setattr(session, "FIRST_EVENT", 0.5)
    server = Growing(misbehaving_server, spoilt)
    stream = add_stream(misbehaving_server.url + "/s")
    with consuming(stream):
        wait_until(lambda: said in Stream.objects.get().detour, FOUND_SECONDS)
        # Between two checks a slow machine may lag; the report then says so instead.
        wait_until(lambda: operations.report(stream).why.startswith("followed by long-poll"))
        report = operations.report(stream)
        assert not report.stuck
        assert said in json.dumps(report.why)

        began = time.monotonic()
        server.groups.append([encode(item) for item in ITEMS[40:]])
        wait_until(lambda: Stream.objects.get().ordinal == len(ITEMS))
        assert time.monotonic() - began < AT_ONCE_SECONDS
    check(stream, ITEMS)


def test_another_way_that_is_asked_for_ends_it(
    misbehaving_server: MisbehavingServer, add_stream: Add
) -> None:
    """What was learnt about events says nothing about long-poll."""
    Growing(misbehaving_server, Reply(200, {"Content-Type": "text/event-stream"}))
    stream = add_stream(misbehaving_server.url + "/s")
    with consuming(stream):
        wait_until(lambda: Stream.objects.get().detour)
        operations.edit(stream, live="long-poll", actor="test")
        wait_until(lambda: not Stream.objects.get().detour)


def test_a_server_that_is_silent_for_long_is_live(
    misbehaving_server: MisbehavingServer, add_stream: Add, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its signs of life are further apart than the stream is told: no error, and no retry."""
    monkeypatch.setattr(following, "AT_ONCE", 0.0)
    control = b'event: control\ndata: {"streamNextOffset":"a","upToDate":true}\n\n'
    events = Reply(
        200,
        {"Content-Type": "text/event-stream"},
        (control, b""),
        framing="chunked",
        cut=len(control),
        silent=True,
    )
    tail = Reply(
        200,
        {
            "Content-Type": "application/json",
            "Stream-Next-Offset": "a",
            "Stream-Up-To-Date": "true",
        },
        (b"[]",),
    )
    misbehaving_server.reply = lambda asked: events if "live" in asked.query else tail
    stream = add_stream(misbehaving_server.url + "/s", heartbeat_seconds=1)
    statuses = set()

    def look() -> bool:
        now = Stream.objects.get()
        statuses.add((now.status, now.failures))
        return len(misbehaving_server.asked) >= 7

    with consuming(stream):
        wait_until(look)
    assert statuses <= {(Status.NEW, 0), (Status.CATCHING_UP, 0), (Status.LIVE, 0)}
    assert Stream.objects.get().detour == ""
