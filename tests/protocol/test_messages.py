"""Every item becomes a message, and the right one."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from durable_state.protocol import (
    Change,
    Control,
    ControlKind,
    Malformed,
    Operation,
    decode,
    encode_change,
    encode_control,
    explain,
    txid_of,
)

from .support.messages import json_values, odd_messages


@pytest.mark.parametrize("operation", list(Operation))
def test_a_change_keeps_its_value_as_it_was_on_the_wire(operation: Operation) -> None:
    """Neither white space nor number formats of `value` are changed."""
    item = (
        b'{"key":"k","value": {"n": 1.50,\n "b":[ ]} ,"type":"t","headers":{"operation":"%b"}}'
        % operation.encode()
    )
    assert decode(item) == Change("t", "k", operation, b'{"n": 1.50,\n "b":[ ]}', None, None, item)


def test_null_is_a_value_and_absence_is_none() -> None:
    """JSON null and a missing `value` are told apart."""
    null = decode(b'{"type":"t","key":"k","value":null,"headers":{"operation":"insert"}}')
    absent = decode(b'{"type":"t","key":"k","headers":{"operation":"delete"}}')
    assert isinstance(null, Change)
    assert null.value == b"null"
    assert isinstance(absent, Change)
    assert absent.value is None


def test_headers_are_decoded_when_asked_for() -> None:
    """Known and unknown headers are kept, including a txid."""
    change = decode(
        encode_change("t", "k", "insert", 1, txid="x1", timestamp="2026-01-01T00:00:00Z", more=[1])
    )
    assert isinstance(change, Change)
    assert change.txid == "x1"
    assert change.headers == {
        "operation": "insert",
        "txid": "x1",
        "timestamp": "2026-01-01T00:00:00Z",
        "more": [1],
    }


@pytest.mark.parametrize(
    ("txid", "known"), [("5", "5"), ("-1", "-1"), ("18446744073709551615",) * 2]
)
def test_a_txid_that_is_a_whole_number_is_text(txid: str, known: str) -> None:
    """Its writer waits for it as a text, like the reference client."""
    for operation in ("insert", "bogus"):
        message = decode(
            f'{{"type":"t","key":"k","headers":{{"operation":"{operation}","txid":{txid}}}}}'.encode()
        )
        assert isinstance(message, Change | Malformed)
        assert (message.txid if isinstance(message, Change) else txid_of(message)) == known


@pytest.mark.parametrize("txid", ["5.5", "true", "null", '{"a":1}', "1e999", "9" * 5000])
def test_a_txid_that_is_neither_is_ignored(txid: str) -> None:
    """It is no reason to lose the change."""
    change = decode(
        f'{{"type":"t","key":"k","value":1,"headers":{{"operation":"insert","txid":{txid}}}}}'.encode()
    )
    assert isinstance(change, Change)
    assert change.txid is None


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (b"5", ("not-an-object", None, None)),
        (b"null", ("not-an-object", None, None)),
        (b"[1, 2]", ("not-an-object", None, None)),
        (b'"text"', ("not-an-object", None, None)),
        (b"", ("bad-json", None, None)),
        (b"{", ("bad-json", None, None)),
        (b"\xff\xfe", ("bad-json", None, None)),
        (b"[1, nul]", ("bad-json", None, None)),
        (
            b'{"type":"t","key":"k","headers":{"operation":"insert"},"value":"\\ud800"}',
            ("bad-json", "t", "k"),
        ),
        (
            b'{"type":"t","key":"\\ud800","headers":{"operation":"insert"},"value":1}',
            ("bad-json", "t", None),
        ),
        (
            b'{"type":"t","key":"k","headers":{"operation":"insert"},"value":"\xff"}',
            ("bad-json", None, None),
        ),
        (
            b'{"type":"t","key":"k","headers":{"operation":"insert"},"value":NaN}',
            ("bad-json", "t", "k"),
        ),
        (b'{"type":"t","key":"k"}', ("bad-headers", "t", "k")),
        (b'{"type":"t","key":"k","headers":null}', ("bad-headers", "t", "k")),
        (b'{"type":"t","key":"k","headers":[]}', ("bad-headers", "t", "k")),
        (b'{"type":"t","key":"k","headers":{}}', ("no-operation", "t", "k")),
        (b'{"type":"t","key":"k","headers":{"operation":null}}', ("no-operation", "t", "k")),
        (
            b'{"type":"t","key":"k","headers":{"operation":"truncate"}}',
            ("unknown-operation", "t", "k"),
        ),
        (b'{"type":"t","key":"k","headers":{"operation":5}}', ("unknown-operation", "t", "k")),
        (b'{"key":"k","headers":{"operation":"insert"}}', ("no-type", None, "k")),
        (b'{"type":"","key":"k","headers":{"operation":"insert"}}', ("no-type", None, "k")),
        (b'{"type":7,"key":"k","headers":{"operation":"insert"}}', ("no-type", None, "k")),
        (b'{"type":"t","headers":{"operation":"insert"}}', ("no-key", "t", None)),
        (b'{"type":"t","key":"","headers":{"operation":"insert"}}', ("no-key", "t", None)),
        (b'{"type":"t","key":7,"headers":{"operation":"insert"}}', ("no-key", "t", None)),
        (b'{"headers":{"control":"rewind"}}', ("unknown-control", None, None)),
    ],
)
def test_an_item_that_is_no_message_says_why(
    item: bytes, expected: tuple[str, str | None, str | None]
) -> None:
    """The reason is a stable code; type and key are given if they can be read; the bytes are
    kept.
    """
    reason, type_, key = expected
    assert decode(item) == Malformed(reason, item, type_, key)


@pytest.mark.parametrize("kind", list(ControlKind))
def test_controls(kind: ControlKind) -> None:
    """All three kinds round-trip, whatever other headers they have."""
    item = encode_control(kind, offset="0_5")
    assert decode(item) == Control(kind, item)


def test_a_known_control_wins_over_an_operation() -> None:
    """One that is unknown, or not a string, is ignored beside an operation."""
    item = '{"type":"t","key":"k","value":1,"headers":{"operation":"insert","control":%s}}'
    assert isinstance(decode((item % '"reset"').encode()), Control)
    for control in ('"rewind"', "5", "null", '{"a":[]}'):
        assert isinstance(decode((item % control).encode()), Change)


@pytest.mark.parametrize("depth", [499, 500, 501, 5_000, 200_000])
def test_depth_is_bounded_at_one_fixed_place(depth: int) -> None:
    """The answer does not depend on the caller's stack."""
    nested = b"[" * (depth - 1) + b"]" * (depth - 1)
    message = decode(b'{"type":"t","key":"k","headers":{"operation":"insert"},"value":%b}' % nested)
    assert isinstance(message, Change if depth <= 500 else Malformed)


def test_brackets_inside_strings_are_not_depth() -> None:
    """A long text of brackets is an ordinary value."""
    assert isinstance(decode(encode_change("t", "k", "insert", "[{" * 5_000)), Change)


@given(st.binary() | json_values.map(lambda value: json.dumps(value).encode()))
def test_decode_never_raises(item: bytes) -> None:
    """Any bytes are some message, whose raw bytes are the item."""
    assert decode(item).raw == item.strip(b" \t\r\n")


@given(odd_messages, st.booleans())
def test_decoding_agrees_with_a_plain_reading_of_the_rules(
    message: dict[str, Any], ascii_only: bool
) -> None:
    """The envelope decoder and its slow way give the same as a naive reading of the decoded
    JSON.
    """
    item = json.dumps(message, ensure_ascii=ascii_only).encode()
    found = decode(item)
    match naive(message):
        case Change() as change:
            assert isinstance(found, Change)
            assert (found.type, found.key, found.operation, found.txid) == (
                change.type,
                change.key,
                change.operation,
                change.txid,
            )
            for raw, name in ((found.value, "value"), (found.old_value, "old_value")):
                assert (raw is None) == (name not in message)
                assert raw is None or json.loads(raw) == message[name]
        case Control(kind):
            assert isinstance(found, Control)
            assert found.kind == kind
        case Malformed(reason):
            assert isinstance(found, Malformed)
            assert found.reason == reason


def naive(message: dict[str, Any]) -> Change | Control | Malformed:
    """The rules, spelled out on decoded JSON."""
    headers = message.get("headers")
    if not isinstance(headers, dict):
        return Malformed("bad-headers", b"")
    operation, control = headers.get("operation"), headers.get("control")
    if control in list(ControlKind):
        return Control(ControlKind(control), b"")
    if isinstance(control, str) and not isinstance(operation, str):
        return Malformed("unknown-control", b"")
    for name in ("type", "key"):
        if not isinstance(message.get(name), str) or not message[name]:
            return Malformed(f"no-{name}", b"")
    if operation is None:
        return Malformed("no-operation", b"")
    if operation not in list(Operation):
        return Malformed("unknown-operation", b"")
    txid = headers.get("txid")
    return Change(
        message["type"],
        message["key"],
        Operation(operation),
        None,
        None,
        txid if isinstance(txid, str) else None,
        b"",
    )


@given(st.text(min_size=1), st.text(min_size=1), st.sampled_from(list(Operation)), json_values)
def test_a_change_round_trips(type_: str, key: str, operation: Operation, value: Any) -> None:
    """An encoded change is decoded again, with any value."""
    change = decode(encode_change(type_, key, operation, value))
    assert isinstance(change, Change)
    assert (change.type, change.key, change.operation) == (type_, key, operation)
    assert change.value is not None
    assert json.loads(change.value) == value


def test_a_raw_value_is_encoded_verbatim() -> None:
    """Bytes that are JSON already are not decoded on the way."""
    change = decode(encode_change("t", "k", "insert", msgspec.Raw(b'{"a": 1.0}')))
    assert isinstance(change, Change)
    assert change.value == b'{"a": 1.0}'


@pytest.mark.parametrize(
    ("item", "said"),
    [
        (b"5", "The message is the number 5, not an object."),
        (b"null", "The message is null, not an object."),
        (b"true", "The message is true, not an object."),
        (b'"hi"', 'The message is the text "hi", not an object.'),
        (b"[1]", "The message is a list, not an object."),
        (b'"%s"' % (b"x" * 99), f'The message is the text "{"x" * 59}…, not an object.'),
        (b"{}", "The message has no `headers`."),
        (b'{"headers": [1]}', "`headers` is a list, not an object."),
        (b'{"headers": {"operation": "insert"}}', "The message has no `type`."),
        (b'{"type": "", "headers": {"operation": "insert"}}', "`type` is empty."),
        (
            b'{"type": "t", "key": 7, "headers": {"operation": "insert"}}',
            "`key` is the number 7, not a text.",
        ),
        (
            b'{"type": "t", "key": "k", "headers": {"operation": "explode"}}',
            'The operation "explode" is not insert, update, upsert or delete.',
        ),
        (
            b'{"headers": {"control": 5}}',
            "The message has no `type`.",
        ),
        (
            b'{"headers": {"control": "stop"}}',
            'The control "stop" is not snapshot-start, snapshot-end or reset.',
        ),
        (
            b'{"type": "t", "key": "k", "headers": {}}',
            "The headers name neither an operation nor a control.",
        ),
        (
            b'{"type": "t\\ud800", "key": "k"}',
            "The message holds half a character (a lone surrogate), which cannot be stored.",
        ),
        (
            b"[" * 9000 + b"]" * 9000,
            "The message is not JSON, or is nested too deeply to be read.",
        ),
        (b'"\xff"', "The message is not JSON, or is nested too deeply to be read."),
    ],
    ids=lambda each: str(each)[:40],
)
def test_a_flaw_is_said_by_what_was_sent(item: bytes, said: str) -> None:
    """Whoever wrote the message recognizes it."""
    found = decode(item)
    assert isinstance(found, Malformed)
    assert explain(found) == said


@pytest.mark.parametrize("value", [float("nan"), {"a": [float("-inf")]}, (1.5, float("inf"))])
def test_numbers_that_json_does_not_have_are_refused(value: Any) -> None:
    """They would be written as null, which is another value."""
    with pytest.raises(ValueError, match="JSON has no"):
        encode_change("t", "k", "insert", value)
    with pytest.raises(ValueError, match="JSON has no"):
        encode_change("t", "k", "update", {"a": 1.5}, old_value=value)
