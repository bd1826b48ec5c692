"""A value that names a parent is converted like the parent's key, or becomes a letter; none
waits for ever.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import models
from django.test.utils import isolate_apps

from durable_state import EntityMapping
from durable_state.models import DeadLetter, FeedEntry, ParkedChange
from durable_state.testing import apply
from tests.mappings import remap
from tests.tables import replay, tables_of
from tests.wire import END, START, change

pytestmark = pytest.mark.usefixtures("writer")

KEYS: list[tuple[models.Field[Any, Any], str, list[Any], list[Any]]] = [
    (
        models.UUIDField(unique=True),
        "0a345678-1234-1234-1234-123456789abc",
        ["0A345678-1234-1234-1234-123456789ABC", "0a345678123412341234123456789abc"],
        ["0a345678", 7, "007"],
    ),
    (models.IntegerField(unique=True), "7", [7, 7.0, "7"], ["007", "+7", 7.5, True, 2**40, ""]),
    (models.CharField(max_length=8, unique=True), "7", [7, "7"], ["123456789", 7.5, {}]),
    (
        models.DecimalField(max_digits=12, decimal_places=8, unique=True),
        "0.00000001",
        ["1e-8", "1E-8", "0.00000001", 1e-8],
        ["1e-9", "one"],
    ),
    (
        models.DateTimeField(unique=True),
        "2024-05-01T10:00:00Z",
        ["2024-05-01T12:00:00+02:00", "2024-05-01 10:00:00Z"],
        ["yesterday", 1714557600],
    ),
    (models.DurationField(unique=True), "P0DT00H01M00S", ["PT60S", "00:01:00"], [60]),
    (
        models.GenericIPAddressField(unique=True),
        "2001:db8::1",
        ["2001:DB8:0:0::1"],
        ["2001", "::1%eth0"],
    ),
]


@pytest.fixture(params=KEYS, ids=lambda each: type(each[0]).__name__)
def spellings(
    request: pytest.FixtureRequest, database: str
) -> Iterator[tuple[type[models.Model], str, list[Any], list[Any]]]:
    """The child's model, a parent's key, and other spellings of it, right and wrong."""
    field, key, right, wrong = request.param

    with isolate_apps("tests.app"):

        class Wharf(models.Model):
            number = field.clone()

            class Meta:
                app_label = "app"

        class Crate(models.Model):
            key = models.CharField(max_length=40, unique=True)
            wharf = models.ForeignKey(Wharf, null=True, on_delete=models.CASCADE)

            class Meta:
                app_label = "app"

    remap("wharf", EntityMapping, model=Wharf, key_field="number", fields=[])
    remap("crate", EntityMapping, model=Crate, key_field="key", fields=["wharf"])
    with tables_of(database, Wharf, Crate):
        yield Crate, key, right, wrong


@pytest.mark.parametrize("parent_first", [True, False])
@pytest.mark.parametrize("staged", [False, True])
def test_other_spellings_are_linked(
    spellings: Any, database: str, parent_first: bool, staged: bool
) -> None:
    """Live and in a snapshot, whichever comes first; a reset gives the same."""
    crate, key, right, wrong = spellings
    children = [
        change("crate", f"r{n}", "upsert", wharf=raw) for n, raw in enumerate([key, *right])
    ]
    bad = [change("crate", f"w{n}", "upsert", wharf=raw) for n, raw in enumerate(wrong)]
    messages = (
        [change("wharf", key, "upsert"), *children]
        if parent_first
        else [*children, change("wharf", key, "upsert")]
    )
    messages += bad
    if staged:
        messages = [START, *messages, END]
    for part in [messages] if staged else [[each] for each in messages]:
        apply("s", part, using=database)

    def check() -> None:
        rows = crate._base_manager.using(database)
        assert set(rows.values_list("key", flat=True)) == {each["key"] for each in children}
        assert not rows.filter(wharf=None).exists()
        assert not ParkedChange.objects.using(database).exists()
        letters = DeadLetter.objects.using(database)
        assert {each.key for each in letters.all()} == {each["key"] for each in bad}

    check()
    replay("s", database)
    apply("s", messages, using=database)
    check()


def test_what_waits_is_found_by_the_parents_own_key(spellings: Any, database: str) -> None:
    """A change that is parked for a parent stores the key by which it will come."""
    crate, key, right, _ = spellings
    apply(
        "s",
        [change("crate", str(uuid.uuid4()), "upsert", wharf=raw) for raw in right],
        using=database,
    )
    assert all(repr(key) in each.detail for each in ParkedChange.objects.using(database).all())
    assert ParkedChange.objects.using(database).count() == len(right)
    apply("s", [change("wharf", key, "upsert")], using=database)
    assert crate._base_manager.using(database).count() == len(right)


@pytest.mark.parametrize("kind", KEYS, ids=lambda each: type(each[0]).__name__)
def test_what_is_there_already_is_no_change(kind: Any, database: str) -> None:
    """A foreign key is read like its target: whether the parent is the same says nothing."""
    field, key, *_ = kind
    primary = field.clone()
    primary.primary_key = True
    with isolate_apps("tests.app"):

        class Quay(models.Model):
            number = primary

            class Meta:
                app_label = "app"

        class Barrel(models.Model):
            key = models.CharField(max_length=40, unique=True)
            quay = models.ForeignKey(Quay, on_delete=models.CASCADE)

            class Meta:
                app_label = "app"

    remap("quay", EntityMapping, model=Quay, key_field="number", fields=[])
    remap("barrel", EntityMapping, model=Barrel, key_field="key", fields=["quay"])
    with tables_of(database, Quay, Barrel):
        apply("s", [change("quay", key, "upsert")], using=database)
        told = []
        for _ in range(3):
            apply("s", [change("barrel", "b", "upsert", quay=key)], using=database)
            entry = FeedEntry.objects.using(database).latest("revision")
            told.append(bytes(entry.changes) != b"[]")
        assert told == [True, False, False]
