"""Values for each kind of column, what conversion makes of them, and when they are equal."""

from __future__ import annotations

import datetime
from typing import Any

from django.db import models
from hypothesis import strategies as st

from durable_state.conversion import JSON_NULL, Refused, convert, same
from tests.app.models import AllFields

__all__ = ["FIELDS", "accepted", "assert_same", "json_values", "modern_moments", "specific"]

CODES = {"type", "null", "nul", "invalid", "too-long", "range", "precision"}


texts = st.text(max_size=10) | st.text(st.sampled_from("aA é😀\n\0\ud800'\\%"), max_size=10)


integers = (
    st.integers()
    | st.integers(-(2**65), 2**65)
    | st.sampled_from([2**n + d for n in (15, 31, 53, 63, 64) for d in (-1, 0, 1)])
)


numbers = (
    integers
    | st.floats()
    | st.decimals()
    | st.decimals(places=2, allow_nan=False, min_value=-(10**10), max_value=10**10)
)


json_values = st.recursive(
    st.none() | st.booleans() | texts | numbers,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


zones: Any = st.none() | st.timezones()


moments = st.datetimes(timezones=zones)


modern_moments = st.datetimes(min_value=datetime.datetime(1975, 1, 1), timezones=zones)


specific = {
    "boolean": st.booleans(),
    "floating": st.floats(allow_nan=False),
    "money": st.decimals(places=2, min_value=-(10**9), max_value=10**9).flatmap(
        lambda d: st.sampled_from([d, str(d), float(d)])
    ),
    "precise": st.decimals(places=10, allow_nan=False, min_value=-(10**19), max_value=10**19)
    | st.integers(0, 10**20),
    "moment": moments | moments.map(lambda moment: moment.isoformat()),
    "day": st.dates() | st.dates().map(str),
    "time": st.times() | st.times().map(str),
    "span": st.timedeltas()
    | st.sampled_from(["P1W2DT3H4M5.000006S", "-PT0.000001S", "3 04:05:06.7", "-1 00:00:01"]),
    "uuid": st.uuids()
    | st.uuids().map(str)
    | st.lists(st.sampled_from([0, 1, 0x7F, 0x80, 0x81, 0xFF]), min_size=16, max_size=16)
    .map(bytes)
    .map(bytes.hex),
    "blob": st.binary(max_size=20) | st.just("AAECAw=="),
    "address": st.ip_addresses().map(str)
    | st.sampled_from(["::ffff:1.2.3.4", "2001:DB8::1", "::1:2", "::1", "fe80::1%eth0", "::"]),
}


FIELDS = [field for field in AllFields._meta.concrete_fields if field.name != "id"]


def accepted(field: models.Field[Any, Any], raws: list[Any], using: str | None) -> list[Any]:
    """What conversion makes of the acceptable values; it may raise only Refused, with a storable
    reason.
    """
    values, refusals = [], []
    for raw in raws:
        try:
            values.append(convert(field, raw, using))
        except Refused as refused:
            refusals.append(refused)
    for refusal in refusals:
        assert refusal.code in CODES
        assert refusal.detail
        assert "\0" not in refusal.detail
        refusal.detail.encode()  # no surrogates
    return values


def assert_same(field: models.Field[Any, Any], value: Any, found: Any) -> None:
    """Equal in value, and in type if the type is Python's (JSON has one kind of number)."""
    # A model instance cannot tell JSON's null from NULL.
    assert same(field, JSON_NULL if found is None and value is JSON_NULL else found, value), (
        value,
        found,
    )
    if value is None or value is JSON_NULL:
        assert found is None
    elif isinstance(field, models.FileField):
        assert found.name == value
    elif isinstance(field, models.BinaryField):
        assert bytes(found) == value
    elif not isinstance(field, models.JSONField):
        assert type(found) is type(value)
        assert str(found) == str(value)
