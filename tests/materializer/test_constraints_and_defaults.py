"""What the tables themselves require: unique columns, CHECKs, references, defaults."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import models as django_models
from django.test.utils import isolate_apps

from durable_state import EntityMapping
from durable_state.models import DeadLetter, ParkedChange
from durable_state.testing import apply
from tests.app.models import (
    Author,
    Bookmark,
    Device,
    Employee,
    File,
    Page,
    Quota,
    Remark,
    Stock,
    Ticket,
)
from tests.app.state_mappings import AuthorMapping, FileMapping
from tests.mappings import remap
from tests.tables import adds_up, tables_of
from tests.wire import END, START, change


@pytest.mark.parametrize(
    ("stream", "key", "serial"),
    [
        ("office", "d1", {}),
        ("office-by-id", "11111111-1111-4111-8111-111111111111", {"serial": "d1"}),
    ],
    ids=["unique-column", "primary-key"],
)
def test_a_key_may_be_unique_across_streams(
    using: str, stream: str, key: str, serial: dict[str, str]
) -> None:
    """A mapping with a stream field needs no constraint over both if the key is unique by
    itself.
    """
    for charge in (1, 2):
        apply(stream, [change("device", key, charge=charge, **serial)], using=using)
    device = Device.objects.using(using).get()
    assert (device.charge, device.serial, device.stream.name) == (2, "d1", stream)


def test_unique_values_that_must_not_be_null_are_swapped(using: str) -> None:
    """The application's rows that point at the swapped ones stay."""
    apply("office", [change("page", "a", slug="x"), change("page", "b", slug="y")], using=using)
    for page in Page.objects.using(using).all():
        Bookmark.objects.using(using).create(page=page)
    apply("office", [change("page", "a", slug="y"), change("page", "b", slug="x")], using=using)
    assert dict(Page.objects.using(using).values_list("key", "slug")) == {"a": "y", "b": "x"}
    assert Bookmark.objects.using(using).count() == 2


@pytest.mark.parametrize(
    "more",
    [{"deferrable": django_models.Deferrable.DEFERRED}, {"include": ["text"]}],
    ids=["deferrable", "covering"],
)
def test_unique_values_that_the_database_does_not_hold(more: dict[str, Any], database: str) -> None:
    """Such constraints are declared, but not created on every database; comparing entities one
    by one or together gives the same.
    """
    (kind,) = more
    with isolate_apps("tests.app"):

        class Seat(django_models.Model):
            key = django_models.CharField(max_length=9, unique=True)
            place = django_models.IntegerField()
            text = django_models.TextField(default="")

            class Meta:
                app_label = "app"
                db_table = f"app_seat_{kind}"
                constraints = [
                    django_models.UniqueConstraint(fields=["place"], name=f"{kind}_place", **more)
                ]

    remap("seat", EntityMapping, model=Seat, key_field="key", fields=["place"])
    with tables_of(database, Seat):
        for key in "abc":
            apply("s", [change("seat", key, place=1)], using=database)
        assert list(Seat._base_manager.using(database).values_list("key", flat=True)) == ["a"]
        assert ParkedChange.objects.using(database).count() == 2


@pytest.mark.parametrize(
    ("entity_type", "unique", "checked"),
    [("page", "slug", "size"), ("employee", "email", "grade")],
    ids=["not-null", "nullable"],
)
def test_a_swap_of_which_one_half_breaks_a_check(
    using: str, entity_type: str, unique: str, checked: str
) -> None:
    """It gets its value back, whatever moved it out of the way; the other half is not to blame,
    and waits for that value.
    """
    before = [change(entity_type, "a", **{unique: "x"}), change(entity_type, "b", **{unique: "y"})]
    apply("office", before, using=using)
    breaking: dict[str, Any] = {unique: "y", checked: 50}
    swap = [change(entity_type, "a", **breaking), change(entity_type, "b", **{unique: "x"})]
    apply("office", swap, using=using)
    model = {"page": Page, "employee": Employee}[entity_type]
    assert dict(model._default_manager.using(using).values_list("key", unique)) == {
        "a": "x",
        "b": "y",
    }
    assert DeadLetter.objects.using(using).get().key == "a"
    assert ParkedChange.objects.using(using).get().key == "b"
    adds_up("office", using)
    apply("office", [change(entity_type, "a", **{unique: "z"})], using=using)
    assert dict(model._default_manager.using(using).values_list("key", unique)) == {
        "a": "z",
        "b": "x",
    }


def test_a_check_is_held_against_the_row_as_it_is(using: str) -> None:
    """The application's value of its own column counts, not that column's default."""
    apply("office", [change("quota", "a", inUse=1)], using=using)
    Quota.objects.using(using).update(cap=100)
    apply("office", [change("quota", "a", inUse=50)], using=using)
    assert not DeadLetter.objects.using(using).exists()
    assert Quota.objects.using(using).get().used == 50


def test_a_row_that_only_the_database_protects_stays(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DO_NOTHING leaves it to the database's foreign key, whose refusal is a dead letter, even
    if it is checked at the commit.
    """
    monkeypatch.setattr(
        Remark._meta.get_field("author").remote_field, "on_delete", django_models.DO_NOTHING
    )
    apply("h", [change("author", "a"), change("author", "b")], using=database)
    Remark.objects.using(database).create(
        author=Author.objects.using(database).get(key="a"), text="mine"
    )
    apply("h", [change("author", "a", "delete"), change("author", "b", "delete")], using=database)
    assert [author.key for author in Author.objects.using(database).all()] == ["a"]
    assert DeadLetter.objects.using(database).get().key == "a"


def test_fields_left_out_get_the_databases_default(using: str) -> None:
    """A db_default like any other; columns that the database or Django computes are left alone."""
    apply("office", [change("stock", "k", amount=1, code="u", order=3)], using=using)
    made = Stock.objects.using(using).get().made
    apply("office", [change("stock", "k", reserved=5)], using=using)
    row = Stock.objects.using(using).get()
    assert (row.amount, row.reserved, row.following, row.code, row.order, row.made) == (
        7,
        5,
        6,
        None,
        1,
        made,
    )


def test_keys_may_be_the_numbers_that_the_database_counts_up(using: str) -> None:
    """A zero, which a database may take for "the next one", is shown as zero or refused."""
    apply(
        "office",
        [change("ticket", "0", priority=1), change("ticket", "5", priority=1)],
        using=using,
    )
    apply("office", [change("ticket", "5", priority=2)], using=using)
    found = dict(Ticket.objects.using(using).values_list("id", "priority"))
    refused = list(DeadLetter.objects.using(using).values_list("key", flat=True))
    assert (found, refused) in [({0: 1, 5: 2}, []), ({5: 2}, ["0"])]


def test_types_that_differ_in_case_are_two_types(using: str) -> None:
    """Even if the database compares them without case."""
    remap("file", None)
    remap("Author", FileMapping)
    file = {"blob": "b", "mode": "m", "commit": "c"}
    apply("h", [START, change("author", "a"), change("Author", "b", **file), END], using=using)
    assert [author.key for author in Author.objects.using(using).all()] == ["a"]
    assert [each.path for each in File.objects.using(using).all()] == ["b"]


def test_a_mapping_may_map_keys_alone(using: str) -> None:
    """Rows come and go; all their columns are the application's."""
    remap("author", AuthorMapping, fields=[])
    apply("h", [change("author", "a"), change("author", "b", commits=5)], using=using)
    Author.objects.using(using).filter(key="a").update(commits=3)
    apply("h", [change("author", "a", commits=7)], using=using)
    apply("h", [START, change("author", "a"), END], using=using)
    assert list(Author.objects.using(using).values_list("key", "commits")) == [("a", 3)]
