"""Each writer writes what the ORM would: every kind of value, the application's columns,
refusals row by row.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest
from django.db import OperationalError, ProgrammingError, connections, models, transaction
from hypothesis import given
from hypothesis import strategies as st

from durable_state.conversion import JSON_NULL
from durable_state.databases import find_database, postgresql
from durable_state.materializer.rows import writing
from durable_state.materializer.rows.claims import free_wanted_values
from durable_state.materializer.rows.row import RowWrite
from durable_state.materializer.rows.rows import write_rows
from tests.app.models import AllFields, Parcel, Stamp
from tests.examples import lenient

from .support.columns import FIELDS, accepted, assert_same, json_values, specific
from .support.plans import plan_for, put

pytestmark = [
    pytest.mark.django_db(databases="__all__"),
    pytest.mark.usefixtures("writer", "no_row_is_few"),
]


@pytest.fixture
def no_row_is_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes small updates take the way of large ones."""
    monkeypatch.setattr(postgresql, "FEW", 0)


@pytest.fixture
def without_the_orm(writer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails if a fast writer falls back to the ORM."""
    if writer == "fast":
        monkeypatch.delattr(writing, "_instance")


def reads_only(execute: Any, sql: str, *rest: Any) -> Any:
    """For ``execute_wrapper``: fails for anything but a SELECT."""
    assert sql.startswith("SELECT"), sql
    return execute(sql, *rest)


@pytest.mark.usefixtures("without_the_orm")
@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.name)
def test_every_kind_of_value(field: models.Field[Any, Any], database: str) -> None:
    """Accepted values are inserted and then, in other rows' places, updated; they come back
    unchanged, and are not written again.
    """
    plan = plan_for(database, AllFields, "id", field.name)

    @lenient(8)
    @given(st.lists(specific.get(field.name, json_values) | json_values, min_size=10, max_size=25))
    def check(raws: list[Any]) -> None:
        AllFields.objects.using(database).all().delete()
        values = accepted(field, raws, database)
        for ordered in (values, values[1:] + values[:1]):
            assert (
                put(plan, {key: {field.attname: value} for key, value in enumerate(ordered, 1)})
                == []
            )
            rows = AllFields.objects.using(database).order_by("pk")
            for value, row in zip(ordered, rows, strict=True):
                assert_same(field, value, getattr(row, field.attname))
        with connections[database].execute_wrapper(reads_only):
            assert (
                put(plan, {key: {field.attname: value} for key, value in enumerate(ordered, 1)})
                == []
            )

    with transaction.atomic(using=database):
        check()


def parcels(keys: Iterable[str], **values: Any) -> dict[Any, dict[str, Any]]:
    return {
        key: {"label": key, "sealed": "abc", "grams": 1, "document": None} | values for key in keys
    }


@pytest.mark.usefixtures("without_the_orm")
def test_the_applications_columns_get_their_defaults_once(database: str) -> None:
    """Set at insert, for each row separately if the default is callable; never touched by an
    update.
    """
    plan = plan_for(database, Parcel, "key", "label", "sealed", "grams", "document")
    assert put(plan, parcels("abc")) == []
    before = {row.key: row for row in Parcel.objects.using(database).all()}
    assert len({row.token for row in before.values()}) == 3
    for row in before.values():
        assert (row.tag, row.shelf, row.doubled, row.picture.name, row.sealed) == (
            "new",
            7,
            14,
            "",
            "abc",
        )
        assert row.arrived_at is not None
    Parcel.objects.using(database).update(tag="kept", shelf=8)
    assert put(plan, parcels("abc", label="other", sealed=None, document=JSON_NULL)) == []
    for row in Parcel.objects.using(database).all():
        assert (row.label, row.sealed, row.document, row.tag, row.doubled) == (
            "other",
            None,
            None,
            "kept",
            16,
        )
        assert (row.pk, row.token, row.arrived_at) == (
            before[row.key].pk,
            before[row.key].token,
            before[row.key].arrived_at,
        )
    assert Parcel.objects.using(database).filter(document__isnull=True).count() == 0


def test_a_fields_own_conversion_applies(database: str) -> None:
    """The column holds what the field makes of the value."""
    put(plan_for(database, Parcel, "key", "label", "sealed", "grams", "document"), parcels("a"))
    with connections[database].cursor() as cursor:
        cursor.execute("SELECT sealed FROM app_parcel")
        assert cursor.fetchone() == ("cba",)


def test_fields_that_compute_go_through_the_orm(database: str) -> None:
    """All writers respect a placeholder and a pre_save of an application's own."""
    plan = plan_for(database, Stamp, "code", "label")
    assert put(plan, {"a": {"label": "ONE"}, "b": {"label": "TWO"}}) == []
    assert put(plan, {"b": {"label": "Three"}}) == []
    stamps = Stamp.objects.using(database).order_by("code")
    assert [(s.code, s.label, s.shout) for s in stamps] == [
        ("a", "one", "ONE"),
        ("b", "three", "TWO"),
    ]


def test_a_db_default_is_written_like_any_value(database: str) -> None:
    """An expression in a mapped column is inserted and updated."""
    plan = plan_for(database, Parcel, "key", "label", "grams")
    expression = models.Value(2) + models.Value(3)
    for _ in range(2):
        assert (
            put(plan, {"a": {"label": "a", "grams": expression}, "b": {"label": "b", "grams": 1}})
            == []
        )
    assert dict(Parcel.objects.using(database).values_list("key", "grams")) == {"a": 5, "b": 1}


def test_refused_rows_come_back_and_the_others_are_written(database: str) -> None:
    """Inserts and updates are bisected until each refused row is alone."""
    plan = plan_for(database, Parcel, "key", "label", "sealed", "grams", "document")
    keys = [f"k{number}" for number in range(40)]
    bad: dict[Any, dict[str, Any]] = {key: {"label": None} for key in ("k3", "k20", "k21")}
    rows = parcels(keys)
    assert put(plan, rows | {key: rows[key] | values for key, values in bad.items()}) == list(bad)
    assert Parcel.objects.using(database).count() == 37
    assert put(plan, rows) == []
    rows = parcels(keys, label="new")
    assert put(plan, rows | {key: rows[key] | values for key, values in bad.items()}) == list(bad)
    assert Parcel.objects.using(database).filter(label="new").count() == 37


def test_a_missing_column_is_raised(database: str) -> None:
    """Any error except a refused row is the caller's, as an error of Django's."""
    plan = plan_for(database, Parcel, "key", "label", "sealed", "grams", "document")
    write = RowWrite("a", "a", tuple(parcels("a")["a"].values()), None)
    field = Parcel._meta.get_field("label")
    field.column, column = "gone", field.column
    try:
        with (
            pytest.raises((OperationalError, ProgrammingError), match="gone"),
            transaction.atomic(using=database),
        ):
            write_rows(
                plan, [write], free_values=lambda plan, writes: free_wanted_values(plan, writes, {})
            )
    finally:
        field.column = column


def test_the_database_is_asked_for_its_fast_way(database: str, writer: str) -> None:
    """Each vendor has its own writer, unless the ORM is forced."""
    assert find_database(database).writes_columns == (writer == "fast")


@pytest.mark.parametrize("name", ["moment", "document"])
def test_a_columns_parameters_are_the_fields_own(name: str, database: str) -> None:
    """Converting a whole column at once gives what the field makes of each value."""
    field, connection = next(each for each in FIELDS if each.name == name), connections[database]

    @lenient(50)
    @given(st.lists(specific.get(name, json_values) | json_values, max_size=10))
    def check(raws: list[Any]) -> None:
        values = accepted(field, raws, database)
        expected = [field.get_db_prep_save(value, connection) for value in values]
        found = find_database(database).save_parameters(field, values)
        if connection.vendor == "postgresql" and name == "document":  # if the text does not matter
            expected = [each if each is None else each.obj for each in expected]
            found = [each if each is None else json.loads(each) for each in found or ()]
        assert found == expected

    check()
