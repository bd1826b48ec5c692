"""The event stream decoder, by the examples of the WHATWG specification."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from durable_state.protocol import ServerSentEvent, SSEDecoder


def events(*pieces: bytes) -> list[tuple[str, bytes]]:
    """The events that a decoder gives for these pieces."""
    decoder = SSEDecoder()
    return [(event.event, event.data) for piece in pieces for event in decoder.feed(piece)]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"data: YHOO\ndata: +2\ndata: 10\n\n", [("message", b"YHOO\n+2\n10")]),
        (
            (
                b": test stream\n\ndata: first event\nid: 1\n\n"
                b"data:second event\nid\n\ndata:  third event\n\n"
            ),
            [
                ("message", b"first event"),
                ("message", b"second event"),
                ("message", b" third event"),
            ],
        ),
        (b"data\n\ndata\ndata\n\ndata:", [("message", b""), ("message", b"\n")]),
        (b"data:test\n\ndata: test\n\n", [("message", b"test"), ("message", b"test")]),
        (
            b"event: add\ndata: 73857293\n\nevent: remove\ndata: 2153\n\n",
            [("add", b"73857293"), ("remove", b"2153")],
        ),
        (b"event: lost\n\ndata: x\n\n", [("message", b"x")]),
        (b"\xef\xbb\xbfdata: bom\n\n", [("message", b"bom")]),
        (b"data: a\xef\xbb\xbf\n\n", [("message", b"a\xef\xbb\xbf")]),
        (
            b"data: a\r\rdata: b\r\n\r\ndata: c\n\n",
            [("message", b"a"), ("message", b"b"), ("message", b"c")],
        ),
        (b"retry: 5\nnonsense: 1\nDATA: no\n\n", []),
        (b"data: never ended\n", []),
        (b'event: control\ndata:{"a":1}\n\n', [("control", b'{"a":1}')]),
        (b"data: one\r\ndata:\r\ndata: three\r\n\r\n", [("message", b"one\n\nthree")]),
    ],
)
def test_the_examples(body: bytes, expected: list[tuple[str, bytes]]) -> None:
    """Whole, and byte by byte."""
    assert events(body) == expected
    assert events(*(body[n : n + 1] for n in range(len(body)))) == expected


def test_an_event_ends_with_its_blank_line_even_when_that_is_a_bare_cr() -> None:
    """Nobody waits for the byte after it."""
    assert events(b"data: x\r", b"\r") == [("message", b"x")]
    assert events(b"data: x\r", b"\n\r", b"\ndata: y\n\n") == [("message", b"x"), ("message", b"y")]


@given(
    st.lists(
        st.sampled_from(
            [b"data", b"event", b":", b" ", b"\r", b"\n", b"\r\n", b"x", b"\xef\xbb\xbf", b"id: 4"]
        ),
        max_size=30,
    ).map(b"".join),
    st.data(),
)
def test_any_chunking_gives_the_same_events(body: bytes, data: st.DataObject) -> None:
    """Cut anywhere, even within CRLF and the byte order mark."""
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=6)))
    pieces = [body[start:end] for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    assert events(*pieces) == events(body)


def test_what_is_held_is_counted() -> None:
    """So that a reader can give up on an event without an end."""
    decoder = SSEDecoder()
    decoder.feed(b"data: 12345\ndata: 678")
    assert decoder.buffered == 6 + 9
    assert decoder.feed(b"\n\n") == [ServerSentEvent("message", b"12345\n678")]
    assert decoder.buffered == 0
