"""What a read session decides as time passes, without a clock."""

from __future__ import annotations

from typing import Any

import pytest

from durable_state.errors import Stalled, Unavailable
from durable_state.protocol import START
from durable_state.transport import Batch, BatchLimits, LiveMode, ReadSession
from durable_state.transport.request import Mode

from .support.reading import keys, message, messages

URL = "https://h/s"
JSON = {"content-type": "application/json"}
TAIL = JSON | {"stream-next-offset": "a", "stream-up-to-date": "true"}
EVENTS = {"content-type": "text/event-stream"}
DATA = b"event: data\ndata: [%b]\n\n" % message(0)
CONTROL = b'event: control\ndata: {"streamNextOffset": "b", "upToDate": true}\n\n'


def begun(headers: dict[str, str] = TAIL, live: LiveMode | None = None) -> ReadSession:
    """A session at the beginning of its first answer."""
    limits = BatchLimits(1_000, 1_000_000, seconds=1.0)
    one = ReadSession(URL, START, live=live, limits=limits, stuck_seconds=300.0)
    one.next_request()
    one.begin(200, headers)
    return one


def listening() -> ReadSession:
    """A session at the beginning of an SSE answer, at the tail of an empty stream."""
    one = begun(live="sse")
    take(one, b"[]", 0.0)
    list(one.end(0.1))
    request = one.next_request()
    assert request is not None
    assert request.mode is Mode.SSE
    one.begin(200, EVENTS)
    return one


def take(one: ReadSession, data: bytes, now: float) -> list[Batch]:
    """The batches that result from bytes that arrive at that time."""
    return [batch for batch in [*one.feed(data), *one.pass_time(now)] if batch is not None]


def next_mode(one: ReadSession) -> Any:
    """How the session asks next."""
    request = one.next_request()
    return request and request.mode


@pytest.mark.parametrize("step", [1, 7, 1_000])
def test_a_batch_is_cut_by_time(step: int) -> None:
    """Messages that are complete after a second are returned, wherever the bytes were cut;
    nothing twice.
    """
    one, body = begun(), b"[%b]" % b", ".join(messages(10))
    batches: list[Batch] = []
    given = 0
    for start in range(0, len(body), step):
        now = start / 100  # 100 bytes a second: a message is as long as about one
        batches += take(one, body[start : start + step], now)
        given = max(given, len(keys(batches)))
    if step < 1_000:
        assert 8 <= given <= 10
        assert all(1 <= len(batch.messages) <= 3 for batch in batches)
    batches += one.end(9.0)
    assert keys(batches) == [str(n) for n in range(10)]
    assert [batch.position.ordinal for batch in batches][-1] == 10
    assert batches[-1].position.offset == "a"
    assert batches[-1].up_to_date


def test_time_cuts_nothing_that_is_quick() -> None:
    """There is one batch within a second."""
    one, body = begun(), b"[%b]" % b",".join(messages(10))
    found = [batch for n in range(len(body)) for batch in take(one, body[n : n + 1], n / 1_000)]
    assert found == []
    assert [len(batch.messages) for batch in one.end(1.0)] == [10]


def test_a_message_need_not_wait_for_the_next() -> None:
    """It is complete with the comma after it, and returned though no byte follows."""
    one = begun()
    assert take(one, b"[%b," % message(0), 0.0) == []
    assert one.patience == 1.0
    assert keys(take(one, b"", 1.0)) == ["0"]
    assert one.patience == 30.0
    assert take(one, b"", 2.0) == []


@pytest.mark.parametrize("more", [b" ", b'{"type":', b"x", b'"'], ids=repr)
def test_an_answer_that_brings_nothing_is_stalled(more: bytes) -> None:
    """However busy the socket is; messages that were complete before were returned."""
    one = begun()
    assert keys(take(one, b"[%b," % message(0), 4.0) + take(one, more, 6.0)) == ["0"]
    for second in range(7, 306):
        assert take(one, b"" if second % 2 else more[:1].replace(b"{", b"1"), second) == []
    with pytest.raises(Stalled, match=r"answering for 300 s") as caught:
        take(one, b"  ", 306.0)
    assert caught.value.seconds == 300.0
    assert caught.value.action


def test_empty_pages_bring_nothing() -> None:
    """Any number of answers, each with another offset and no message, until one reaches the
    tail.
    """
    one = begun(JSON | {"stream-next-offset": "0"})
    for n in range(1, 31):
        assert take(one, b"[]", n * 10.0) == []
        (batch,) = one.end(9.0)
        assert batch.position.offset == str(n - 1)
        one.next_request()
        one.begin(200, JSON | {"stream-next-offset": str(n)})
    with pytest.raises(Stalled):
        take(one, b"[]", 310.0)


def test_events_without_their_control_event_are_asked_for() -> None:
    """After ten seconds, by a GET; if that does not bring them either, it is an error."""
    one = listening()
    assert take(one, DATA, 0.0) == []
    assert take(one, b": alive\n\n", 9.0) == []
    assert not one.enough
    assert take(one, b": alive\n\n", 10.0) == []
    assert one.enough
    assert list(one.end(10.0)) == []
    assert next_mode(one) is Mode.CATCH_UP
    one.begin(200, TAIL)
    list(one.feed(b"[]"))
    with pytest.raises(Unavailable, match="no control event confirms"):
        list(one.end(0.1))


def test_events_that_a_get_confirms_are_no_error() -> None:
    """The stream goes on live."""
    one = listening()
    take(one, DATA, 0.0)
    take(one, b"", 11.0)
    list(one.end(10.0))
    next_mode(one)
    one.begin(200, TAIL | {"stream-next-offset": "b"})
    list(one.feed(b"[%b]" % message(0)))
    assert keys(list(one.end(0.1))) == ["0"]
    assert next_mode(one) is Mode.SSE


def test_events_that_come_slowly_but_whole_are_waited_for() -> None:
    """The ten seconds start again with each control event."""
    one = listening()
    for n in range(5):
        assert take(one, DATA, n * 8.0) == []
        control = CONTROL.replace(b'"b"', b'"%d"' % n)
        assert keys(take(one, control, n * 8.0 + 7)) == ["0"]
        assert not one.enough


def test_a_quiet_event_stream_is_looked_behind_now_and_then() -> None:
    """Comments alone prove nothing: every STUCK_SECONDS a GET does."""
    one = listening()
    take(one, CONTROL.replace(b'"b"', b'"a"'), 0.0)
    for second in range(0, 300, 15):
        assert take(one, b": alive\n\n", second) == []
        assert not one.enough
    take(one, b": alive\n\n", 300.0)
    assert one.enough
    list(one.end(300.0))
    assert next_mode(one) is Mode.CATCH_UP
    one.begin(200, TAIL)
    list(one.feed(b"[]"))
    assert [batch.up_to_date for batch in one.end(0.1)] == [True]
    assert next_mode(one) is Mode.SSE


def test_a_long_poll_that_is_answered_late_is_not_stalled() -> None:
    """The server may take its time before the head."""
    one = begun(live="long-poll")
    take(one, b"[]", 0.0)
    list(one.end(0.1))
    assert next_mode(one) is Mode.LONG_POLL
    one.begin(200, TAIL | {"stream-next-offset": "b"})
    assert take(one, b"[", 1_000.0) == []
    assert keys(take(one, b"%b," % message(0), 1_001.0) + take(one, b"", 1_002.0)) == ["0"]
    with pytest.raises(Stalled):
        take(one, b" ", 1_302.0)
