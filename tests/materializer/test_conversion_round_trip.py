"""Whatever conversion accepts, every database stores and returns unchanged; whatever it refuses
has a reason code.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from django.db import models, transaction
from django.test import override_settings
from hypothesis import given
from hypothesis import strategies as st

from durable_state.conversion import JSON_NULL, convert, same
from durable_state.conversion.jsonable import jsonable
from durable_state.materializer.batch.preparation import Prepared, to_bytes
from tests.app.models import AllFields
from tests.examples import lenient

from .support.columns import FIELDS, accepted, assert_same, json_values, modern_moments, specific
from .support.plans import plan_for

pytestmark = pytest.mark.django_db(databases="__all__")


def stored(field: models.Field[Any, Any], values: list[Any], using: str) -> list[Any]:
    """What rows made by bulk_create return."""
    rows = AllFields._base_manager.using(using)
    rows.all().delete()
    rows.bulk_create([AllFields(**{field.attname: value}) for value in values])
    return [getattr(row, field.attname) for row in rows.order_by("pk")]


def assert_round_trips(field: models.Field[Any, Any], database: str, limits_of: str | None) -> None:
    """Accepted by conversion means stored and read back as the same Python value."""

    @lenient(12)
    @given(st.lists(specific.get(field.name, json_values) | json_values, min_size=10, max_size=25))
    def check(raws: list[Any]) -> None:
        values = accepted(field, raws, limits_of)
        for value, found in zip(values, stored(field, values, database), strict=True):
            assert_same(field, value, found)

    with transaction.atomic(using=database):
        check()


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.name)
def test_accepted_values_come_back_unchanged(field: models.Field[Any, Any], database: str) -> None:
    """Values that conversion accepts for every database come back from this one."""
    assert_round_trips(field, database, limits_of=None)


@pytest.mark.parametrize("name", ["precise", "document", "uuid"])
def test_what_one_database_holds_comes_back_from_it(name: str, database: str) -> None:
    """Where the databases differ, conversion for this one accepts no more than it holds."""
    assert_round_trips(
        next(field for field in FIELDS if field.name == name), database, limits_of=database
    )


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.name)
def test_accepted_values_survive_staging(field: models.Field[Any, Any]) -> None:
    """Values that `prepare` returned are staged as JSON; converted again from there, they are
    the same.
    """
    decode, plan = (
        msgspec.json.Decoder(float_hook=Decimal).decode,
        plan_for("default", AllFields, "id", field.name),
    )

    @lenient(30)
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
    """A shown value means the same when it comes in again; also with USE_TZ off."""
    big_numbers_as_text = isinstance(field, models.JSONField)

    @lenient(30)
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
