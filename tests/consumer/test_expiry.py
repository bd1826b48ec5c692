"""A server that drops its streams says so beforehand, and so does `status`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from durable_state import operations
from durable_state.consumer import recognizer
from durable_state.models import Lease, Stream
from tests.servers.misbehaving import Asked, MisbehavingServer, Reply, StreamReplies
from tests.wire import encode

from .support.consuming import consuming, wait_until
from .support.serving import ITEMS

pytestmark = pytest.mark.django_db(transaction=True)

Add = Callable[..., Stream]
STREAM = StreamReplies([[encode(item) for item in ITEMS]])


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first check beside the reader does not wait for a minute."""
    monkeypatch.setattr(recognizer, "NEAR_SECONDS", 0.1)


def serve(server: MisbehavingServer, **head: str) -> None:
    """A stream read by long-poll, and its answer to HEAD."""

    def reply(asked: Asked) -> Reply:
        answer = STREAM(asked)
        if "live" in asked.query and answer.pieces == (b"[]",):
            return Reply(204, answer.headers, wait=0.3)
        return answer

    server.reply = reply
    server.head = Reply(200, {"Stream-Next-Offset": "a", **head})


def test_a_paused_stream_is_warned_of(
    misbehaving_server: MisbehavingServer, add_stream: Add, settings: Any
) -> None:
    """After three quarters of the time it is stuck."""
    serve(misbehaving_server, **{"Stream-TTL": "1000"})
    stream = add_stream(misbehaving_server.url + "/s", live="long-poll")
    with consuming(stream):
        wait_until(lambda: Stream.objects.get().ttl_seconds == 1000)
        assert operations.report(stream).why == ""
    assert len(misbehaving_server.heads) == 1

    told = [(1, False, "in 16 min"), (14, True, "in 3 min"), (20, True, "has passed")]
    for minutes, stuck, said in told:
        Lease.objects.update(seen_at=timezone.now() - timedelta(minutes=minutes))
        report = operations.report(Stream.objects.get())
        assert (report.status, report.stuck) == ("paused", stuck)
        assert "reads or writes it for 17 min" in report.why
        assert said in report.why
        assert "resume" in report.action


@pytest.mark.parametrize("said", ["2030-01-02T03:04:05Z", "2030-01-02T04:04:05+01:00"])
def test_a_fixed_time_is_told(
    misbehaving_server: MisbehavingServer, add_stream: Add, said: str
) -> None:
    """Even while somebody follows the stream; nothing can be done about it here."""
    serve(misbehaving_server, **{"Stream-Expires-At": said})
    stream = add_stream(misbehaving_server.url + "/s", live="long-poll")
    with consuming(stream):
        wait_until(lambda: Stream.objects.get().expires_at)
        report = operations.report(stream)
    assert report.why == "its server drops it at 2030-01-02 03:04 UTC"
    assert not report.stuck


@pytest.mark.parametrize(
    "head",
    [
        {"Stream-TTL": "9" * 40},
        {"Stream-TTL": "9" * 5_000},
        {"Stream-TTL": "-5"},
        {"Stream-Expires-At": "soon"},
        {"Stream-Expires-At": "9999-12-31T23:59:59-01:00"},
        {"Stream-Expires-At": "0001-01-01T00:00:00+01:00"},
        {"Stream-Expires-At": "2030-13-02T03:04:05Z"},
        {"Stream-Expires-At": "2030-01-02T03:04:05"},
        {},
    ],
    ids=lambda head: str(head)[:60],
)
def test_what_is_no_time_is_none(
    misbehaving_server: MisbehavingServer, add_stream: Add, head: dict[str, str]
) -> None:
    """The stream continues, and nothing is shown."""
    serve(misbehaving_server, **head)
    stream = add_stream(misbehaving_server.url + "/s", live="long-poll")
    with consuming(stream):
        wait_until(lambda: misbehaving_server.heads)
    found = Stream.objects.get()
    assert (found.ttl_seconds, found.expires_at) == (None, None)
    assert operations.report(found).why == ""
