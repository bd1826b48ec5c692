"""Keys in columns that are not plain texts: a key that the column would not return unchanged is
a letter.
"""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.db import models
from django.test.utils import isolate_apps

from durable_state import EntityMapping
from durable_state.feed.rendering import delete_item
from durable_state.feed.rows import page, page_of_keys, rows_by_key
from durable_state.models import DeadLetter, FeedEntry, Stream, TableOwner
from durable_state.registry import registry
from durable_state.testing import apply
from tests.app.models import Ticket
from tests.mappings import remap
from tests.tables import replay, tables_of
from tests.wire import END, START, change, delete


class LoweringField(models.CharField):
    """Stores its text in lower case, in Python."""

    def get_prep_value(self, value: Any) -> Any:
        value = super().get_prep_value(value)
        return value if value is None else value.lower()


class ScrambledField(models.CharField):
    """Stores something other than it reads, and returns what was written."""

    def get_db_prep_value(self, value: Any, connection: Any, prepared: bool = False) -> Any:
        value = super().get_db_prep_value(value, connection, prepared)
        return value if value is None else value.swapcase()[::-1]

    def from_db_value(self, value: str | None, expression: Any, connection: Any) -> str | None:
        return value if value is None else value.swapcase()[::-1]


def thing(field: models.Field[Any, Any]) -> type[models.Model]:
    """A model whose key is in the field, mapped as `thing`."""
    with isolate_apps("tests.app"):

        class Thing(models.Model):
            code = field.clone()
            note = models.CharField(max_length=20, default="")

            class Meta:
                app_label = "app"

    remap("thing", EntityMapping, model=Thing, key_field="code", fields=[])
    return Thing


def codes(model: type[models.Model], using: str) -> set[str]:
    """The keys of the rows, as they are shown outside."""
    mapping = registry.find("thing", "s")
    assert mapping is not None
    found, _ = page_of_keys(mapping, model._base_manager.using(using), None)
    return set(found)


def letters(using: str) -> dict[str, tuple[str, int]]:
    """Reason and ordinal of the letters, by key."""
    found = DeadLetter.objects.using(using)
    return {letter.key: (letter.reason, letter.ordinal) for letter in found.all()}


KINDS: list[tuple[models.Field[Any, Any], list[str], list[str]]] = [
    (LoweringField(max_length=20, unique=True), ["ada", "7", "ß"], ["Ada", "aDA"]),
    (ScrambledField(max_length=20, unique=True), ["Ada", "x y"], ["x" * 21]),
    (models.IntegerField(unique=True), ["7", "-7"], ["007", "+7", "7.0"]),
    (models.DurationField(unique=True), ["P0DT00H01M00S", "-P1DT00H00M00S"], ["PT60S", "00:01:00"]),
    (
        models.UUIDField(unique=True),
        ["0a345678-1234-1234-1234-123456789abc"],
        ["0A345678-1234-1234-1234-123456789ABC", "0a345678123412341234123456789abc"],
    ),
    (
        models.DecimalField(max_digits=12, decimal_places=8, unique=True),
        ["0.00000000", "1.50000000"],
        ["0E-8", "1.5", "0"],
    ),
    (models.DateField(unique=True), ["2024-05-01"], ["2024-5-1", "20240501"]),
    (models.TimeField(unique=True), ["10:00:00"], ["10:00"]),
    (models.DateTimeField(unique=True), ["2024-05-01T10:00:00Z"], ["2024-05-01T10:00:00+00:00"]),
    (models.GenericIPAddressField(unique=True), ["2001:db8::1"], ["2001:DB8::1"]),
]


@pytest.fixture(params=KINDS, ids=lambda each: type(each[0]).__name__)
def kind(request: pytest.FixtureRequest) -> Any:
    """A key field, keys that it returns unchanged, and other spellings of them that it does not."""
    return request.param


@pytest.mark.parametrize("staged", [False, True])
def test_keys_are_believed_as_the_column_gives_them_back(
    kind: Any, database: str, staged: bool
) -> None:
    """Inserts and deletes alike; the rows of the right keys stay, in frames and pages as well."""
    field, right, wrong = kind
    model = thing(field)
    with tables_of(database, model):
        inserts = [change("thing", key, "upsert") for key in [*right, *wrong]]
        apply("s", [START, *inserts, END] if staged else inserts, using=database)
        assert codes(model, database) == set(right)
        assert {key: reason for key, (reason, _) in letters(database).items()} == dict.fromkeys(
            wrong, "key"
        )
        before = Stream.objects.using(database).get().ordinal
        for key in wrong:
            apply("s", [delete("thing", key)], using=database)
        assert codes(model, database) == set(right)
        assert letters(database) == {
            key: ("key", before + n) for n, key in enumerate(wrong, start=1)
        }

        mapping = registry.find("thing", "s")
        assert mapping is not None
        rows = model._base_manager.using(database)
        assert set(rows_by_key(mapping, rows.all(), [*right, *wrong])) == set(right)
        items, _ = page(
            mapping, rows.all(), None, lambda row: delete_item("thing", mapping.key_of(row))
        )
        assert len(items) == len(right)
        entry = FeedEntry.objects.using(database).order_by("revision")[0]
        assert all(key in bytes(entry.changes).decode() for key in right)

        apply("s", [change("thing", key, "upsert") for key in right], using=database)
        assert bytes(FeedEntry.objects.using(database).order_by("-revision")[0].changes) == b"[]"
        apply("s", [delete("thing", key) for key in right], using=database)
        assert codes(model, database) == set()
        assert set(letters(database)) == set(wrong)


def test_rows_without_a_key_are_the_applications(database: str) -> None:
    """They prevent neither an adoption nor a reset, and stay."""
    model = thing(models.IntegerField(unique=True, null=True))
    with tables_of(database, model):
        rows = model._base_manager.using(database)
        rows.bulk_create([model(code=code, note="mine") for code in (None, None, 1, 2)])
        stream = Stream.objects.using(database).create(name="s", url="http://tests.invalid")
        TableOwner.objects.using(database).create(model="app.thing", stream=stream)
        messages = [START, change("thing", "2", "upsert"), change("thing", "3", "upsert"), END]
        apply("s", messages, using=database)
        for _ in range(2):
            found = list(rows.order_by("pk").values_list("code", "note"))
            assert found == [(None, "mine"), (None, "mine"), (2, "mine"), (3, "")]
            assert codes(model, database) == {"2", "3"}
            replay("s", database)
            apply("s", messages, using=database)
        assert not DeadLetter.objects.using(database).exists()


@pytest.mark.usefixtures("writer")
@pytest.mark.parametrize("pk_class", [models.AutoField, models.BigAutoField, models.SmallAutoField])
def test_the_application_can_create_rows_beside_those_of_a_stream(
    database: str, pk_class: type[models.Field[Any, Any]]
) -> None:
    """Its next number is free; a smaller one from the stream does not turn the counter back."""
    with isolate_apps("tests.app"):

        class Order(models.Model):
            number = pk_class(primary_key=True, db_column="Number")

            class Meta:
                app_label = "app"
                db_table = "app_Order"

    remap("thing", EntityMapping, model=Order, key_field="number", fields=[])
    with tables_of(database, Order):
        rows = Order._base_manager.using(database)
        apply("s", [change("thing", str(key), "upsert") for key in (1, 2, 7)], using=database)
        assert rows.create().pk == 8
        apply("s", [change("thing", "3", "upsert"), delete("thing", "2")], using=database)
        assert rows.create().pk == 9
        apply(
            "s",
            [START, change("thing", "40", "upsert"), END, change("thing", "50", "upsert")],
            using=database,
        )
        assert rows.create().pk > 50


@pytest.mark.django_db(transaction=True, databases=["postgres"])
def test_a_role_that_may_not_move_a_sequence_writes_rows_all_the_same() -> None:
    """The counter is adjusted if that is allowed."""
    from django.db import connections

    connection, role = connections["postgres"], f"plain_{uuid.uuid4().hex[:8]}"
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE ROLE {role}")
        cursor.execute(
            f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}"
        )
        cursor.execute(f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {role}")
        try:
            cursor.execute(f"SET ROLE {role}")
            apply("office", [change("ticket", "70", "upsert")], using="postgres")
            assert Ticket.objects.using("postgres").get().pk == 70
        finally:
            cursor.execute("RESET ROLE")
            cursor.execute(f"DROP OWNED BY {role}")
            cursor.execute(f"DROP ROLE {role}")


def test_rows_with_a_composite_primary_key(database: str) -> None:
    """Of stream field and key field: inserted, updated, reset and deleted, separately for each
    stream.
    """
    with isolate_apps("tests.app"):

        class Seat(models.Model):
            pk = models.CompositePrimaryKey("room", "code")
            room = models.CharField(max_length=100)
            code = models.CharField(max_length=40)
            taken = models.IntegerField(default=0)

            class Meta:
                app_label = "app"

    remap(
        "thing",
        EntityMapping,
        model=Seat,
        key_field="code",
        stream_field="room",
        fields=["taken"],
    )
    with tables_of(database, Seat):
        rows = Seat._base_manager.using(database)
        for name in ("s", "t"):
            apply(
                name,
                [change("thing", "a", "upsert"), change("thing", "b", "upsert", taken=2)],
                using=database,
            )
        apply("s", [change("thing", "a", "upsert", taken=1), delete("thing", "b")], using=database)
        for _ in range(2):
            found = set(rows.values_list("room", "code", "taken"))
            assert found == {("s", "a", 1), ("t", "a", 0), ("t", "b", 2)}
            apply("s", [START, change("thing", "a", "upsert", taken=1), END], using=database)
        apply("t", [START, END], using=database)
        assert set(rows.values_list("room", "code")) == {("s", "a")}
