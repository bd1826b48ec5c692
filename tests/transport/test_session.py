"""The decisions of a read session, without a socket."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from durable_state.errors import NotJson, ProtocolViolation, StreamRecreated
from durable_state.protocol import START, Position
from durable_state.transport import Batch, BatchLimits, LiveMode, ReadSession
from durable_state.transport.request import Mode

from .support.reading import keys, message, messages

URL = "https://h/s"
LIMITS = BatchLimits(1_000, 1_000_000)


def session(
    position: Position = START, live: LiveMode | None = "long-poll", **options: Any
) -> ReadSession:
    """A session on a stream."""
    return ReadSession(URL, position, live=live, **{"limits": LIMITS} | options)


def answer(
    one: ReadSession,
    items: list[bytes] | None,
    offset: str,
    *,
    up_to_date: bool = False,
    closed: bool = False,
    seconds: float = 1.0,
    step: int | None = None,
) -> list[Batch]:
    """Lets the session ask, and gives it one answer; None for the items is a 204."""
    assert one.next_request() is not None
    headers = {"content-type": "application/json", "stream-next-offset": offset}
    if up_to_date:
        headers["stream-up-to-date"] = "true"
    if closed:
        headers["stream-closed"] = "true"
    one.begin(204 if items is None else 200, headers)
    body = b"" if items is None else b"[%b]" % b",".join(items)
    batches = [
        batch
        for n in range(0, len(body), step or len(body) or 1)
        for batch in one.feed(body[n : n + (step or len(body))])
        if batch is not None
    ]
    return batches + list(one.end(seconds))


def mode(one: ReadSession) -> Mode | None:
    """How the session asks next."""
    request = one.next_request()
    return request.mode if request else None


def test_requests_are_built_in_order() -> None:
    """The offset is encoded, live and cursor are present when live, the rest of the query stays."""
    one = ReadSession(
        "https://h/s?b=%20&a=1", Position("x y&z", 0, 5), live="long-poll", limits=LIMITS
    )
    request = one.next_request()
    assert request is not None
    assert request.url == "https://h/s?a=1&b=%20&offset=x%20y%26z"
    assert request.headers == {"accept": "application/json"}
    one.begin(204, {"stream-next-offset": "x y&z", "stream-cursor": "7"})
    list(one.end(1))
    request = one.next_request()
    assert request is not None
    assert request.url == "https://h/s?a=1&b=%20&cursor=7&live=long-poll&offset=x%20y%26z"
    assert request.silence == 45


@pytest.mark.parametrize("live", ["sse", "long-poll"])
def test_live_only_from_the_tail(live: LiveMode) -> None:
    """Catch-up continues by plain GET until the server says up to date."""
    one = session(live=live)
    assert mode(one) is Mode.CATCH_UP
    assert not answer(one, messages(2), "a")[-1].up_to_date
    assert mode(one) is Mode.CATCH_UP
    assert answer(one, messages(2, 2), "b", up_to_date=True)[-1].up_to_date
    assert mode(one) is Mode(live)


def test_a_live_answer_that_is_not_at_the_tail_leads_back_to_catch_up() -> None:
    """There is more than one answer holds."""
    one = session()
    answer(one, messages(1), "a", up_to_date=True)
    assert mode(one) is Mode.LONG_POLL
    answer(one, messages(1, 1), "b")
    assert mode(one) is Mode.CATCH_UP


def test_without_live_the_tail_is_the_end() -> None:
    """No request is made after it."""
    one = session(live=None)
    answer(one, messages(1), "a", up_to_date=True)
    assert one.next_request() is None


def test_nothing_at_the_same_offset_is_the_tail() -> None:
    """Even if the server forgets to say so; asking again would only bring the same."""
    one = session()
    assert answer(one, messages(1), "a")
    assert answer(one, [], "a")[-1].up_to_date
    assert mode(one) is Mode.LONG_POLL


@pytest.mark.parametrize("items", [None, []], ids=["204", "empty"])
def test_a_live_answer_alone_does_not_move_the_tail(items: list[bytes] | None) -> None:
    """A plain GET from the old place returns what precedes the tail that the answer mentions."""
    one = session()
    answer(one, messages(1), "a", up_to_date=True)
    assert answer(one, items, "b", up_to_date=True) == []
    request = one.next_request()
    assert request is not None
    assert (request.mode, request.url) == (Mode.CATCH_UP, f"{URL}?offset=a")
    (batch,) = answer(one, messages(1, 1), "b", up_to_date=True)
    assert keys([batch]) == ["1"]
    assert batch.position == ("b", 0, 2)


def silent_at_the_tail() -> ReadSession:
    """A session that read one message, and whose live request got no byte afterwards."""
    one = session()
    (batch,) = answer(one, messages(1), "a", up_to_date=True)
    assert one.recognition(batch) is None
    assert mode(one) is Mode.LONG_POLL
    assert one.leave_silent()
    return one


def test_messages_after_a_silence_wait_until_the_stream_is_recognized() -> None:
    """It may have been deleted and created anew while nothing was received."""
    one = silent_at_the_tail()
    (batch,) = answer(one, messages(1, 1), "b", up_to_date=True)
    check = one.recognition(batch)
    assert check is not None
    assert one.confirm(batch, check) == batch
    (following,) = answer(one, messages(1, 2), "c", up_to_date=True)
    assert one.recognition(following) is None


def test_what_came_of_a_cut_answer_is_left_while_the_stream_is_in_doubt() -> None:
    """It is read again, in an answer that can be compared; nothing is skipped."""
    one = silent_at_the_tail()
    assert one.next_request() is not None
    one.begin(200, {"content-type": "application/json", "stream-next-offset": "b"})
    assert list(one.feed(b"[%b," % message(1))) == []
    assert list(one.cut()) == []


@pytest.mark.parametrize("by", ["data", "204"])
def test_closed_is_confirmed_by_a_plain_get(by: str) -> None:
    """Whatever said it first."""
    one = session()
    if by == "data":
        (batch,) = answer(one, messages(1), "a", up_to_date=True, closed=True)
    else:
        answer(one, messages(1), "a", up_to_date=True)
        (batch,) = answer(one, None, "a", up_to_date=True, closed=True)
    assert batch.up_to_date
    assert not batch.closed
    assert mode(one) is Mode.CATCH_UP
    (last,) = answer(one, [], "a", closed=True)
    assert last.closed
    assert one.next_request() is None


def test_a_batch_ends_where_its_limits_are() -> None:
    """Rows or bytes, whichever comes first; a message that is larger than the limit comes alone."""
    sizes = [10, 10, 500, 10, 10, 10]
    items = [message(n, "x" * size) for n, size in enumerate(sizes)]
    batches = answer(session(limits=BatchLimits(2, 300)), items, "a", up_to_date=True)
    assert [keys([batch]) for batch in batches] == [["0", "1"], ["2"], ["3", "4"], ["5"]]
    assert [batch.position for batch in batches] == [
        ("-1", 2, 2),
        ("-1", 3, 3),
        ("-1", 5, 5),
        ("a", 0, 6),
    ]
    assert [batch.up_to_date for batch in batches] == [False, False, False, True]
    assert [batch.bytes for batch in batches] == [
        sum(len(item.raw) for item in batch.messages) for batch in batches
    ]


def test_the_skipped_messages_are_dropped_and_not_counted_again() -> None:
    """A position inside an answer."""
    (batch,) = answer(session(Position("a", 3, 10)), messages(5), "b", up_to_date=True)
    assert keys([batch]) == ["3", "4"]
    assert batch.position == Position("b", 0, 12)


def test_fewer_messages_than_were_read_before() -> None:
    """Not at the tail, the next answer continues; at the tail it is another stream."""
    one = session(Position("a", 3, 10))
    (batch,) = answer(one, messages(2), "b")
    assert (batch.messages, batch.position) == ([], Position("b", 1, 10))
    (batch,) = answer(one, messages(2, 2), "c", up_to_date=True)
    assert keys([batch]) == ["3"]
    assert batch.position == Position("c", 0, 11)
    for items in (messages(2), []):
        with pytest.raises(StreamRecreated):
            answer(session(Position("a", 3, 10)), items, "b" if items else "a", up_to_date=True)


def test_a_cut_body_gives_its_whole_items_first() -> None:
    """Then the error comes."""
    one = session()
    one.next_request()
    one.begin(200, {"content-type": "application/json; charset=utf-8", "stream-next-offset": "a"})
    body = b"[%b" % b",".join(messages(3))
    assert list(one.feed(body)) == []
    ending = one.end(1)
    batch = next(ending)
    assert batch.position == Position("-1", 2, 2)
    with pytest.raises(ProtocolViolation):
        next(ending)


def test_no_check_at_the_start_of_a_stream() -> None:
    """There is nothing to compare, and no check without a checkpoint; a position inside an
    answer is compared as it is read again.
    """
    (first,) = answer(session(), messages(3), "a", up_to_date=True)
    assert session(Position("a", 0, 3)).opening() is None
    assert session(first.position, checkpoint=first.checkpoint).opening() is not None
    start = answer(session(), [], "a", up_to_date=True)[0]
    assert session(start.position, checkpoint=start.checkpoint).opening() is None
    inside = session(limits=BatchLimits(2, 1_000_000))
    (batch, _) = answer(inside, messages(3), "a", up_to_date=True)
    assert batch.position == Position("-1", 2, 2)
    assert session(batch.position, checkpoint=batch.checkpoint).opening() is None
    again = session(batch.position, checkpoint=batch.checkpoint)
    assert keys(answer(again, messages(3), "a", up_to_date=True)) == ["2"]
    for others in (messages(3, 1), [*messages(1), *messages(2, 7)]):
        again = session(batch.position, checkpoint=batch.checkpoint)
        with pytest.raises(StreamRecreated):
            answer(again, others, "a", up_to_date=True)


def test_a_quiet_live_answer_casts_doubt_on_the_next_messages_only() -> None:
    """Batches without messages need no check; after a check, no further batch does."""
    one = session()
    (first,) = answer(one, messages(1), "a", up_to_date=True)
    assert one.recognition(first) is None
    (quiet,) = answer(one, None, "a", up_to_date=True)
    assert one.recognition(quiet) is None
    (more,) = answer(one, messages(1, 1), "b", up_to_date=True)
    assert one.recognition(more) is not None
    one.confirm(more)
    (again,) = answer(one, messages(1, 2), "c", up_to_date=True)
    assert one.recognition(again) is None


def test_messages_in_doubt_are_not_flushed() -> None:
    """The answer broke off before its stream was recognized."""
    one = session()
    one.recognition(answer(one, messages(1), "a", up_to_date=True)[0])
    answer(one, None, "a", up_to_date=True)
    one.next_request()
    one.begin(200, {"content-type": "application/json", "stream-next-offset": "b"})
    list(one.feed(b"[%b,%b" % (message(1), message(2))))
    assert list(one.cut()) == []


@pytest.mark.parametrize("quick", [2, 3])
def test_quick_quiet_answers_are_counted(quick: int) -> None:
    """Two are chance, after three the tail is checked now and then."""
    one = session()
    answer(one, [], "a", up_to_date=True)
    for _ in range(quick):
        answer(one, None, "a", up_to_date=True, seconds=0.01)
    assert mode(one) is (Mode.LONG_POLL if quick == 2 else Mode.CATCH_UP)
    request = one.next_request()
    assert request is not None
    assert request.pause == (0 if quick == 2 else 2)


def test_events_of_another_tail_lead_to_a_get() -> None:
    """The event stream alone is not believed."""
    one = session(live="sse")
    answer(one, messages(1), "a", up_to_date=True)
    one.next_request()
    one.begin(200, {"content-type": "text/event-stream"})
    assert (
        list(one.feed(b'event: control\ndata: {"streamNextOffset":"z","upToDate":true}\n\n')) == []
    )
    assert one.enough
    assert list(one.end(1)) == []
    request = one.next_request()
    assert request is not None
    assert request.mode is Mode.CATCH_UP
    assert request.url.endswith("offset=a")


def test_events_that_are_no_events() -> None:
    """A server without SSE answers JSON: it is asked by long-poll."""
    one = session(live="sse")
    answer(one, [], "a", up_to_date=True)
    one.next_request()
    one.begin(200, {"content-type": "application/json", "stream-next-offset": "a"})
    assert one.enough
    assert list(one.end(0.1)) == []
    assert mode(one) is Mode.LONG_POLL
    with pytest.raises(NotJson):
        one.begin(200, {"content-type": "text/html", "stream-next-offset": "a"})


groupings = st.lists(st.integers(1, 5), min_size=1, max_size=6)


@given(groupings, st.integers(1, 4), st.integers(1, 400), st.integers(1, 60), st.data())
def test_any_answers_limits_and_pieces_give_every_message_once(
    groups: list[int], rows: int, most: int, step: int, data: st.DataObject
) -> None:
    """And from each position the rest follows, in whatever answers it then comes."""
    total = sum(groups)
    limits = BatchLimits(rows, most)

    def play(position: Position, chunks: list[int]) -> list[Batch]:
        one = session(position, live=None, limits=limits)
        at, found = int(position.offset) if position.offset != "-1" else 0, []
        for size in chunks:
            end = min(at + size, total)
            if one.next_request() is None:
                break
            found += answer(
                one, messages(end - at, at), str(end), up_to_date=end == total, step=step
            )
            at = end
        return found

    batches = play(START, [*groups, total])
    assert keys(batches) == [str(n) for n in range(total)]
    assert all(len(batch.messages) <= rows for batch in batches)
    assert all(batch.bytes <= most or len(batch.messages) == 1 for batch in batches)
    for batch in batches:
        chunks = data.draw(st.lists(st.integers(1, 7), max_size=8))
        rest = play(batch.position, [*chunks, total])
        assert keys(rest) == [str(n) for n in range(batch.position.ordinal, total)]


@given(st.lists(st.text(max_size=20), min_size=1, max_size=300), st.data())
def test_a_fingerprint_is_that_of_the_messages_not_of_their_form(
    values: list[str], data: st.DataObject
) -> None:
    """Spaces, the order of names, escapes and the server's offset make no difference; another
    value does.
    """
    plain = [message(n, value) for n, value in enumerate(values)]
    other = []
    for n, item in enumerate(plain):
        loaded = json.loads(item)
        loaded["headers"]["offset"] = f"{n}_{n}"
        other.append(
            json.dumps(
                dict(reversed(loaded.items())), indent=data.draw(st.sampled_from([None, 2]))
            ).encode()
        )

    def mark(items: list[bytes]) -> str | None:
        checkpoint = answer(session(Position("a", 0, 0)), items, "b", up_to_date=True)[
            -1
        ].checkpoint
        return checkpoint and checkpoint.fingerprint

    first = mark(plain)
    assert first is not None
    assert mark(other) == first
    changed = [*plain]
    number = data.draw(st.integers(0, len(plain) - 1))
    changed[number] = message(number, values[number] + "!")
    assert mark(changed) != first
