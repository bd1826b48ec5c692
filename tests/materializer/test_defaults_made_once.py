"""A default that differs each time is made once for an entity, and kept.

Whatever is sent again, and however it is cut.
"""

from __future__ import annotations

import datetime
import itertools
import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.hashers import make_password
from django.db import models
from django.db.models.functions import Now
from django.test.utils import isolate_apps
from django.utils import timezone

from durable_state import EntityMapping
from durable_state.models import DeadLetter, ParkedChange, Stream
from durable_state.testing import apply
from tests.app.models import Author
from tests.mappings import remap
from tests.properties.support.replays import check_replays
from tests.tables import adds_up, replay, tables_of
from tests.wire import END, START, change, delete, raw_change

from .support.verifying import differing

pytestmark = pytest.mark.usefixtures("writer")

SAID = "12345678-1234-4234-8234-123456789abc"
WHEN = "2001-02-03T04:05:06Z"


def preferences() -> dict[str, Any]:
    """A function that always returns the same."""
    return {"theme": "light"}


def token() -> str:
    """A text that never occurred before."""
    return make_password(None)[:20]


@pytest.fixture(params=["replace", "merge"])
def draft(request: pytest.FixtureRequest, database: str) -> Iterator[type[models.Model]]:
    """A model with a default of each kind, all of them mapped."""
    with isolate_apps("tests.app"):

        class Draft(models.Model):
            key = models.CharField(max_length=40, unique=True)
            title = models.CharField(max_length=40, default="untitled")
            opened_at = models.DateTimeField(default=timezone.now)
            day = models.DateField(default=datetime.date.today)
            number = models.UUIDField(default=uuid.uuid4, unique=True)
            token = models.CharField(max_length=20, default=token)
            stamped_at = models.DateTimeField(db_default=Now())
            preferences = models.JSONField(default=preferences)
            tags = models.JSONField(default=list)

            class Meta:
                app_label = "app"

    remap(
        "draft",
        EntityMapping,
        model=Draft,
        key_field="key",
        fields="__all__",
        update_mode=request.param,
    )
    with tables_of(database, Draft):
        yield Draft


def test_they_are_kept(draft: Any, database: str) -> None:
    """Replays of each kind write nothing, verify finds nothing; each entity has its own."""
    texts = ["{}", '{"title": "a"}', json.dumps({"number": SAID, "opened_at": WHEN})]
    messages = [raw_change("draft", f"k{n}", text) for n, text in enumerate(texts)]
    stream = check_replays(database, messages, itertools.cycle([3, 1]), draft)
    assert differing(stream, messages) == []
    rows = draft._base_manager.using(database)
    assert len(set(rows.values_list("number", flat=True))) == 3
    assert len(set(rows.values_list("token", flat=True))) == 3
    assert not rows.filter(opened_at__gt=timezone.now()).exists()
    assert str(rows.get(key="k2").number) == SAID
    # Values that were sent are compared; kept defaults are not.
    rows.filter(key="k2").update(number=uuid.uuid4())
    rows.filter(key="k1").update(number=uuid.uuid4())
    assert [(each.key, each.kind) for each in differing(stream, messages)] == [("k2", "changed")]


STORIES: dict[str, tuple[list[dict[str, Any]], str | None]] = {
    "said, then left out": (
        [
            change("draft", "k", number=SAID),
            change("draft", "k", "upsert", title="b"),
            change("draft", "k", "upsert"),
        ],
        SAID,
    ),
    "left out, then said": (
        [change("draft", "k"), change("draft", "k", "upsert", number=SAID)],
        SAID,
    ),
    "said, refused, left out": (
        [
            change("draft", "k", number=SAID),
            change("draft", "k", "upsert", number="no"),
            change("draft", "k", "upsert"),
        ],
        SAID,
    ),
    "said, deleted, left out": (
        [change("draft", "k", number=SAID), delete("draft", "k"), change("draft", "k")],
        None,
    ),
    "updated, then replaced": (
        [
            change("draft", "k"),
            change("draft", "k", "update", number=SAID),
            change("draft", "k", "upsert", title="b"),
        ],
        SAID,
    ),
}


@pytest.mark.parametrize("story", STORIES)
@pytest.mark.parametrize("staged", [False, True])
def test_cuts_do_not_matter(draft: Any, database: str, story: str, staged: bool) -> None:
    """A left-out field keeps the entity's value: live, staged, in one batch and many, after a
    reset.
    """
    messages, number = STORIES[story]
    rows = draft._base_manager.using(database)
    whole = [START, *messages, END] if staged else messages
    for name, size in (("one", 1), ("two", 2), ("all", len(whole))):
        for start in range(0, len(whole), size):
            apply(name, whole[start : start + size], using=database)
        found = rows.get()
        assert (str(found.number) == SAID) == (number is not None)
        before = rows.values().get()
        adds_up(name, database)

        replay(name, database)
        for start in range(0, len(whole), size):
            last = start + size >= len(whole)
            apply(name, whole[start : start + size], using=database, up_to_date=last)
        assert rows.values().get() == before
        adds_up(name, database)

        apply(name, [delete("draft", "k")], using=database)
        Stream.objects.using(database).filter(name=name).delete()
    assert not ParkedChange.objects.using(database).exists()
    assert not DeadLetter.objects.using(database).exists()


@pytest.mark.parametrize("size", [1, 2, 3])
def test_what_waits_keeps_them_too(database: str, size: int) -> None:
    """A change that replaces a parked one and leaves the field out keeps that one's value."""
    with isolate_apps("tests.app"):

        class Errand(models.Model):
            key = models.CharField(max_length=40, unique=True)
            author = models.ForeignKey(Author, on_delete=models.CASCADE)
            number = models.UUIDField(default=uuid.uuid4)
            title = models.CharField(max_length=40, default="untitled")

            class Meta:
                app_label = "app"

    remap("draft", EntityMapping, model=Errand, key_field="key", fields="__all__")
    messages = [
        change("draft", "k", author="a", number=SAID, title="old"),
        change("draft", "k", "upsert", author="a"),
        change("draft", "new", author="a"),
    ]
    with tables_of(database, Errand):
        for start in range(0, 3, size):
            apply("s", messages[start : start + size], using=database)
        assert ParkedChange.objects.using(database).count() == 2
        author = {"type": "author", "key": "a", "headers": {"operation": "insert"}, "value": {}}
        apply("s", [author], using=database)
        rows = Errand._base_manager.using(database)
        assert (str(rows.get(key="k").number), rows.get(key="k").title) == (SAID, "untitled")
        assert rows.get(key="new").number is not None
        apply("s", [change("draft", "k", "upsert", author="a", title="b")], using=database)
        assert str(rows.get(key="k").number) == SAID
        adds_up("s", database)


def test_constant_defaults_are_taken_again(draft: Any, database: str) -> None:
    """Including those that a function makes: a field that a replace leaves out gets its default."""
    apply(
        "s",
        [change("draft", "k", preferences={"theme": "dark"}, tags=[1], title="a")],
        using=database,
    )
    apply("s", [change("draft", "k", "upsert")], using=database)
    row = draft._base_manager.using(database).get()
    assert (row.preferences, row.tags, row.title) == ({"theme": "light"}, [], "untitled")
