"""Whatever conversion accepts, every database takes and gives back unchanged; whatever it refuses has a reason code."""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from django.db import models, transaction
from django.test import override_settings
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from durable_state.conversion import JSON_NULL, Refused, convert, same
from durable_state.conversion.jsonable import jsonable
from durable_state.materializer.batch.preparation import Prepared, to_bytes
from tests.app.models import AllFields

from .plans import plan_for

pytestmark = pytest.mark.django_db(databases="__all__")

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
    """The values that conversion makes of the acceptable ones; nothing but Refused may come out of it, with a storable reason."""
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


def stored(field: models.Field[Any, Any], values: list[Any], using: str) -> list[Any]:
    """What rows made by bulk_create give back."""
    rows = AllFields._base_manager.using(using)
    rows.all().delete()
    rows.bulk_create([AllFields(**{field.attname: value}) for value in values])
    return [getattr(row, field.attname) for row in rows.order_by("pk")]


def assert_same(field: models.Field[Any, Any], value: Any, found: Any) -> None:
    """Equal in value, and in type where the type is Python's (JSON has one kind of number only)."""
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


def assert_round_trips(field: models.Field[Any, Any], database: str, limits_of: str | None) -> None:
    """Accepted by conversion means stored and read back as the same Python value."""

    @settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(specific.get(field.name, json_values) | json_values, min_size=10, max_size=25))
    def check(raws: list[Any]) -> None:
        values = accepted(field, raws, limits_of)
        for value, found in zip(values, stored(field, values, database), strict=True):
            assert_same(field, value, found)

    with transaction.atomic(using=database):
        check()


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.name)
def test_accepted_values_come_back_unchanged(field: models.Field[Any, Any], database: str) -> None:
    """What conversion accepts for every database comes back from this one."""
    assert_round_trips(field, database, limits_of=None)


@pytest.mark.parametrize("name", ["precise", "document", "uuid"])
def test_what_one_database_holds_comes_back_from_it(name: str, database: str) -> None:
    """Where the databases differ, conversion for this one accepts no more than it holds."""
    assert_round_trips(
        next(field for field in FIELDS if field.name == name), database, limits_of=database
    )


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.name)
def test_accepted_values_survive_staging(field: models.Field[Any, Any]) -> None:
    """What `prepare` returned is staged as JSON; converted again from there, it is the same value."""
    decode, plan = (
        msgspec.json.Decoder(float_hook=Decimal).decode,
        plan_for("default", AllFields, "id", field.name),
    )

    @settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
    # msgspec writes UTC offsets in whole minutes, and local mean times of old are not.
    @given(
        (modern_moments if field.name == "moment" else specific.get(field.name, json_values))
        | json_values
    )
    def check(raw: Any) -> None:
        for value in accepted(field, [raw], None):
            staged = to_bytes(plan, Prepared("key", "key", 1, (raw,), (), True, b""))
            again = convert(field, decode(staged)[field.name])
            assert same(field, again, value)
            assert type(again) is type(value) or isinstance(
                field, models.JSONField
            )  # JSON has one kind of number

    check()


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.name)
@pytest.mark.parametrize("zone", [None, "America/New_York"])
def test_what_leaves_is_taken_back(field: models.Field[Any, Any], zone: str | None) -> None:
    """What is shown outside means the same value when it comes in again; also where USE_TZ is off."""
    big_numbers_as_text = isinstance(field, models.JSONField)

    @settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
    @given(specific.get(field.name, json_values) | json_values)
    def check(raw: Any) -> None:
        for value in accepted(field, [raw], None):
            if value is JSON_NULL:
                continue
            shown = jsonable(value)
            again = convert(field, shown)
            assert same(field, again, shown if big_numbers_as_text else value)

    with override_settings(**({"USE_TZ": False, "TIME_ZONE": zone} if zone else {})):
        check()
