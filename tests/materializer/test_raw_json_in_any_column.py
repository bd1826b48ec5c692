"""Whatever JSON text a stream holds, a column shows exactly its value, or a letter says why not;
however the message was decoded.
"""

from __future__ import annotations

import base64
import datetime
import ipaddress
import json
import math
import uuid
from decimal import Decimal
from typing import Any

import pytest
from django.db import transaction
from hypothesis import given
from hypothesis import strategies as st

from durable_state import EntityMapping
from durable_state.models import DeadLetter
from durable_state.testing import apply, isolated_registry
from tests.app.models import AllFields
from tests.examples import lenient

pytestmark = pytest.mark.django_db(databases="__all__")

NAMES = [
    field.name for field in AllFields._meta.concrete_fields if field.name not in ("id", "slug")
]
REASONS = {
    "type",
    "null",
    "nul",
    "invalid",
    "too-long",
    "range",
    "precision",
    "bad-value",
    "bad-json",
}


# JSON texts

digits = st.text("0123456789", min_size=1, max_size=22).map(lambda text: text.lstrip("0") or "0")
exponents = st.sampled_from(["", "e0", "E2", "e-2", "e+5", "e15", "E16", "e22", "e308", "e-400"])
numbers = st.builds(
    "{}{}{}{}".format,
    st.sampled_from(["", "-"]),
    digits,
    st.just("") | digits.map(lambda text: f".{text}") | st.sampled_from([".0", ".00", ".5"]),
    exponents,
) | st.sampled_from(
    [
        *(str(2**n + d) for n in (15, 31, 53, 63, 64) for d in (-1, 0, 1)),
        *(str(-(2**n) + d) for n in (15, 31, 53, 63) for d in (-1, 0, 1)),
        *("4503599627370497.5", "1.00000000000000000001", "9007199254740993.0"),
    ]
)
odd_texts = [
    *("", " ", "a ", " a", "A", "é", "e\u0301", "ﬁ", "ß", "ı", "😀", "\u2028", "\ufffe", "\ufeff"),
    *("2024-02-29", "2023-02-29", "0000-01-01", "10000-01-01", "2024-W09-4", "20240229", "24:00"),
    *("2024-01-01T24:00:00Z", "2024-06-30T23:59:60Z", "2024-01-01T00:00:00.1234567Z"),
    *("2024-01-01T00:00:00,5Z", "2024-01-01 00:00:00+23:59", "2024-01-01T00:00:00-00:00"),
    *("2024-01-01T00:00:00+0130", "2024-01-01T00:00", "2024-01-01T00:00:00.000000001Z"),
    *("1969-12-31T23:59:59.999999Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"),
    *("12:00:00.5", "12:00Z", "23:59:60", "12:00:00.123456", "00:00", "t12", "PT0.1S", "P1D"),
    *("-P1DT1S", "P1W", "1 00:00:00", "PT36H", "-1 day, 1:00:00", "00:00:01.5"),
    *("true", "false", "null", "1", "1.0", "1e3", "-0", "+1", "01", "0x1", "1_0", " 1", "١", "NaN"),
    *("AA==", "AA", "AB==", "_-8=", "::1", "::ffff:1.2.3.4", "1.2.3", "01.2.3.4", "2001:DB8::"),
    *("12345678-1234-1234-1234-123456789abc", "{12345678-1234-1234-1234-123456789abc}"),
    *("\0", "a\0b", "\ud800", "../a.png", "a\\b", "%s", "'", "\r\n", "\t", "\x1f", "\x7f"),
]
texts = (st.sampled_from(odd_texts) | st.text(max_size=9)).flatmap(
    lambda text: st.sampled_from([json.dumps(text), json.dumps(text, ensure_ascii=False)])
)
plain = texts | numbers | st.sampled_from(["null", "true", "false", "[]", "{}", "1E400", "-0.0"])
documents = st.recursive(
    plain,
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda parts: f"[ {' , '.join(parts)} ]")
        | st.lists(st.tuples(texts, inner), max_size=3).map(
            lambda members: "{" + ",".join(f"{name}:{value}" for name, value in members) + "}"
        )
    ),
    max_leaves=6,
)


# The meaning of a text, by Python's own decoder and none of our code


def means(name: str, written: Any, shown: Any) -> bool:
    """Whether the column's value equals the JSON value (numbers are given as Decimals)."""
    match shown:
        case None:
            return written is None
        case bool():
            return written is shown
        case int() | Decimal():
            return not isinstance(written, bool) and Decimal(written) == shown
        case float():
            return not isinstance(written, bool) and float(written) == shown
        case datetime.datetime():
            return shown == moment_of(written)
        case datetime.date():
            return shown == datetime.date.fromisoformat(written)
        case datetime.time():
            return shown == datetime.time.fromisoformat(written.replace(",", "."))
        case datetime.timedelta():
            return True  # the rules for durations have their own tests
        case uuid.UUID():
            return shown == uuid.UUID(written)
        case bytes() | memoryview():
            return bytes(shown) == base64.b64decode(written, validate=True)
    if name == "upload" and written is None:
        return str(shown.name) == ""  # Django keeps no NULL in a FileField
    if name == "address":
        return ipaddress.ip_address(shown) == ipaddress.ip_address(written)
    return bool(str(shown) == written)


def moment_of(written: str) -> datetime.datetime:
    """Also for a date alone, and a moment without an offset: in UTC, like the project."""
    moment = datetime.datetime.fromisoformat(written.replace(",", "."))
    return moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)


def same_document(written: Any, shown: Any) -> bool:
    """As JSON distinguishes documents; numbers with a point are doubles."""
    if isinstance(written, dict):
        return isinstance(shown, dict) and same_document(
            sorted(written.items()), sorted(shown.items())
        )
    if isinstance(written, (list, tuple)):
        return (
            isinstance(shown, (list, tuple))
            and len(written) == len(shown)
            and all(map(same_document, written, shown))
        )
    if isinstance(written, Decimal):
        is_number = isinstance(shown, (int, float)) and not isinstance(shown, bool)
        return is_number and float(written) == float(shown) and math.isfinite(shown)
    if isinstance(written, int) and not isinstance(written, bool):
        return not isinstance(shown, (bool, str)) and int(shown) == written
    return type(written) is type(shown) and bool(written == shown)


def assert_shown(using: str, stream: str, bodies: dict[str, tuple[str, str]]) -> dict[str, Any]:
    """Each key has its row, which shows the value of its text, or its letter. Returns the shown
    values.
    """
    rows = {str(row.pk): row for row in AllFields._base_manager.using(using).filter(pk__in=bodies)}
    letters = {
        letter.key: letter.reason
        for letter in DeadLetter.objects.using(using).filter(stream__name=stream)
    }
    assert rows.keys() | letters.keys() == bodies.keys()
    assert not rows.keys() & letters.keys()
    assert set(letters.values()) <= REASONS, letters
    shown: dict[str, Any] = dict(letters)
    for key, row in rows.items():
        name, text = bodies[key]
        written = json.loads(text, parse_float=Decimal)
        found = shown[key] = getattr(row, name)
        is_right = (
            same_document(written, found) if "document" in name else means(name, written, found)
        )
        assert is_right, f"{name}: {text} is shown as {found!r}"
    return shown


def mapping_of(name: str, whole: bool, own: bool) -> type[EntityMapping]:
    """Maps the one column, as a member or as the whole value; ``own`` adds code to the mapping."""
    attributes: dict[str, Any] = {"model": AllFields, "key_field": "id"}
    attributes |= {"value_field": name} if whole else {"fields": {name: "v"}}
    if own:
        attributes["prepare"] = lambda self, change: EntityMapping.prepare(self, change)
    return type("AnyMapping", (EntityMapping,), attributes)


@pytest.mark.parametrize("name", NAMES)
def test_any_text_in_any_column(using: str, name: str) -> None:
    """Many messages at once, one at a time, staged, and with a mapping's own code: all alike."""

    @lenient(2)
    @given(st.lists(documents | plain, min_size=10, max_size=15), st.booleans())
    def check(values: list[str], whole: bool) -> None:
        found: list[dict[str, Any]] = []
        keys = [str(number) for number in range(1, len(values) + 1)]
        bodies = {key: (name, text) for key, text in zip(keys, values, strict=True)}
        messages = [body(key, text, whole) for key, text in zip(keys, values, strict=True)]
        ways: dict[str, list[list[bytes]]] = {"together": [messages]}
        if using == "default":  # how a message is decoded does not depend on the database
            ways["one by one"] = [[message] for message in messages]
            ways["staged"] = [[START, *messages, END]]
            ways["own"] = [messages]
        for way, batches in ways.items():
            with isolated_registry() as registry, transaction.atomic(using=using):
                registry.clear()
                registry.register("t")(mapping_of(name, whole, way == "own"))
                for batch in batches:
                    apply("raw", batch, using=using)
                found.append(assert_shown(using, "raw", bodies))
                transaction.set_rollback(True, using=using)
        assert all(repr(each) == repr(found[0]) for each in found[1:])

    check()


START, END = (f'{{"headers":{{"control":"snapshot-{end}"}}}}'.encode() for end in ("start", "end"))


def body(key: str, text: str, whole: bool) -> bytes:
    """The message that contains the JSON text."""
    value = text if whole else f'{{"v":{text}}}'
    return (
        f'{{"type":"t","key":"{key}","value":{value},"headers":{{"operation":"insert"}}}}'
    ).encode("utf-8", "surrogatepass")
