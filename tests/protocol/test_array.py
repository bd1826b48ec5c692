"""An array splits into the same messages however it arrives."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from durable_state.errors import ProtocolViolation
from durable_state.protocol import (
    ArraySplitter,
    Change,
    Malformed,
    Message,
    array,
    decode,
    encode_change,
)

from .support.messages import json_values, odd_messages


def split(data: bytes, cuts: list[int]) -> tuple[list[Message], bool]:
    """Feeds `data` cut at `cuts`."""
    splitter = ArraySplitter()
    messages: list[Message] = []
    for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
        messages += splitter.feed(data[start:end])
    messages += splitter.finish()
    return messages, splitter.complete


def decode_items(body: bytes) -> list[Message]:
    """The messages of one array that has arrived completely."""
    messages, complete = split(body, [])
    if not complete:
        raise ProtocolViolation("The JSON array is cut.")
    return messages


junk_items = st.sampled_from(
    [
        b'{"type":"t","key":"k","headers":{"operation":"insert"},"value":"\\ud800"}',
        b'{"type":"t","key":"k","headers":{"operation":"insert"},"value":"\xff},{"}',
        b'"},{\\"},"',
        b"[[],[{}]]",
        b"{ }",
        b'{"a" 1}',
        b"nul",
        b"[" * 600 + b"]" * 600,
        b"1" * 5000,
    ]
)
items = (
    odd_messages.map(lambda message: json.dumps(message).encode())
    | odd_messages.map(lambda message: json.dumps(message, ensure_ascii=False, indent=1).encode())
    | json_values.map(lambda value: json.dumps(value).encode())
    | junk_items
)
white = st.sampled_from([b"", b" ", b"\r\n\t"])


@st.composite
def arrays(draw: st.DrawFn) -> tuple[bytes, list[bytes]]:
    """An array as bytes, and its items."""
    parts = draw(st.lists(items, max_size=8))
    space = draw(white)
    return space + b"[" + space + (space + b"," + space).join(parts) + space + b"]" + space, parts


@given(arrays(), st.data())
def test_any_chunking_gives_the_same_messages(
    drawn: tuple[bytes, list[bytes]], data: st.DataObject
) -> None:
    """Also if the fast way is tried after every few bytes, so that both ways alternate."""
    body, parts = drawn
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=12)))
    expected = [decode(part) for part in parts]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(array, "_STRIDE", data.draw(st.sampled_from([1, 7, 100, array._STRIDE])))
        assert split(body, cuts) == (expected, True)
    assert decode_items(body) == expected


@given(arrays(), st.data())
def test_a_cut_array_gives_its_whole_items_and_is_not_complete(
    drawn: tuple[bytes, list[bytes]], data: st.DataObject
) -> None:
    """What was received before the cut is a prefix of the whole array's items."""
    body, parts = drawn
    body = body.rstrip()
    cut = data.draw(st.integers(0, len(body) - 1))
    messages, complete = split(body[:cut], [])
    assert not complete
    assert messages == [decode(part) for part in parts][: len(messages)]
    with pytest.raises(ProtocolViolation):
        decode_items(body[:cut])


def test_every_cut_of_a_small_array_byte_by_byte() -> None:
    """One byte at a time is the worst chunking there is."""
    body = b'[{"type":"t","key":"a},{","headers":{"operation":"delete"}} , [[1],{}], "\\"]", 5 ]'
    messages, complete = split(body, list(range(1, len(body))))
    assert complete
    assert len(messages) == 4
    assert messages == decode_items(body)


@pytest.mark.parametrize(
    "body", [b"{}", b"<html>", b"5", b"[]]", b"[1],", b"[1]x", b"[1,]", b"[,1]", b"[1,,2]", b"[}"]
)
def test_bytes_that_are_no_array_are_refused(body: bytes) -> None:
    """The error is one that is retried."""
    for cuts in ([], list(range(1, len(body)))):
        with pytest.raises(ProtocolViolation):
            split(body, cuts)


@pytest.mark.parametrize("body", [b"[]", b" [ ] \n", b"[\r\n]"])
def test_an_empty_array_is_complete(body: bytes) -> None:
    """Byte by byte as well."""
    assert split(body, list(range(1, len(body)))) == ([], True)


def test_an_item_that_msgspec_refuses_spoils_no_other() -> None:
    """Each neighbour is decoded, in order."""
    good = [encode_change("t", str(n), "insert", {"n": n}) for n in range(2_000)]
    good[1_000] = b'{"type":"t","key":"k","headers":{"operation":"insert"},"value":"\\ud800"}'
    body = b"[" + b",".join(good) + b"]"
    messages, complete = split(body, list(range(4_096, len(body), 4_096)))
    assert complete
    assert len(messages) == 2_000
    assert [n for n, message in enumerate(messages) if not isinstance(message, Change)] == [1_000]
    assert messages[1_000] == Malformed("bad-json", good[1_000], "t", "k")


@pytest.mark.parametrize(
    "value",
    [
        b'"' + b"x" * 10_000_000 + b'"',
        b"[" + b"[]," * 1_000_000 + b"[]]",
        b'"' + b"\\\\" * 5_000_000 + b'"',
        b'"' + b"}," * 5_000_000 + b'"',
    ],
    ids=["text", "brackets", "backslashes", "boundaries"],
)
def test_one_large_item_in_small_pieces_takes_linear_time(value: bytes) -> None:
    """Ten megabytes arriving by the kilobyte: seconds, if each attempt looked at everything
    again.
    """
    body = b'[{"type":"t","key":"k","headers":{"operation":"insert"},"value":%b}]' % value
    start = time.process_time()
    messages, complete = split(body, list(range(1_024, len(body), 1_024)))
    assert complete
    assert len(messages) == 1
    assert time.process_time() - start < 8


def test_memory_follows_the_item_not_the_array() -> None:
    """The buffer never holds much more than a stride and an item."""
    item = encode_change("t", "k", "insert", "x" * 200)
    splitter = ArraySplitter()
    splitter.feed(b"[")
    most = count = 0
    for _ in range(20_000):
        count += len(splitter.feed(item + b","))
        most = max(most, splitter.buffered)
    assert most < 40_000
    assert count > 19_000
