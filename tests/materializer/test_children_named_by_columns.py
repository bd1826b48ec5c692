"""Children name their parents by a column that the stream writes: it never leads them to a wrong
parent.
"""

from __future__ import annotations

from typing import Any

import pytest
from django.db import models

from durable_state.models import FeedEntry, KeptRow
from tests.app.grove import City, Truck, Visit
from tests.tables import adds_up
from tests.wire import END, START, change

from .support.grove import grove, parked

pytestmark = [pytest.mark.usefixtures("writer")]


def depot(key: str, code: str | None) -> Any:
    return change("depot", key, "upsert", code=code)


def truck(key: str, at: str, spare: str | None = None) -> Any:
    return change("truck", key, "upsert", depot=at, spare=spare)


def parents(using: str) -> dict[str, tuple[str, str | None]]:
    """The depot of each truck."""
    rows = Truck.objects.using(using).values_list("key", "depot__key", "spare__key")
    return {key: (at, spare) for key, at, spare in rows}


@pytest.mark.parametrize("snapshot", [False, True])
def test_who_gives_up_its_name_is_the_parent_of_those_who_need_none(
    using: str, snapshot: bool
) -> None:
    """The others wait with all their application data, and come back under the new name."""
    trucks = [truck("t", "p"), truck("u", "q", "p")]
    grove(using, [depot("p", "x"), depot("q", "y"), *trucks])
    Truck.objects.using(using).update(note="mine")
    before = dict(Truck.objects.using(using).values_list("key", "pk"))

    nameless = [depot("p", None)]
    if snapshot:
        nameless = [START, *nameless, depot("q", "y"), *trucks, END]
    grove(using, nameless)
    assert parents(using) == {"u": ("q", None)}
    assert parked(using) == {"t": ("parent", False), "u": ("link", False)}
    assert KeptRow.objects.using(using).get().key == "t"
    told = bytes(FeedEntry.objects.using(using).latest("revision").changes)
    assert b'"truck","t","delete"' in told
    assert b'"truck","u","update"' in told

    grove(using, [depot("p", "z")])
    assert parents(using) == {"t": ("p", None), "u": ("q", "p")}
    assert dict(Truck.objects.using(using).values_list("key", "pk")) == before
    assert set(Truck.objects.using(using).values_list("note", flat=True)) == {"mine"}
    assert parked(using) == {}
    adds_up("grove", using)


def test_a_change_that_leaves_no_name_finds_children_of_its_own_batch(using: str) -> None:
    """In whatever order they are."""
    grove(using, [depot("p", "x"), truck("t", "p")])
    grove(using, [truck("t", "p", "p"), depot("p", None)])
    assert parents(using) == {}
    assert parked(using) == {"t": ("parent", False)}


@pytest.mark.parametrize(
    ("parent", "model", "column"), [("country", City, "country"), ("depot", Truck, "depot")]
)
def test_who_takes_the_name_of_the_deleted_takes_no_child(
    using: str, parent: str, model: type[models.Model], column: str
) -> None:
    """Nor in one batch, whether or not the column may be NULL."""
    child = model._meta.label_lower.rpartition(".")[2]
    grove(using, [change(parent, "p", code="x"), change(child, "c", **{column: "p"})])
    before = model._base_manager.using(using).get().pk
    grove(using, [change(parent, "p", "delete"), change(parent, "q", code="x")])
    assert not model._base_manager.using(using).exists()
    assert parked(using) == {"c": ("parent", False)}
    grove(using, [change(parent, "p", code="y")])
    row = model._base_manager.using(using).get(**{f"{column}__key": "p"})
    assert row.pk == before
    assert parked(using) == {}


def test_a_switch_passes_a_name_on_without_the_children(
    using: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if the rows that have it are written in another chunk."""
    monkeypatch.setattr("durable_state.materializer.staged.staging.READ", 1)
    countries = [change("country", key, code=code) for key, code in zip("pqr", "xyz", strict=True)]
    cities = [change("city", key, country=key) for key in "pqr"]
    grove(using, countries + cities)
    for code in "xyz":
        Visit.objects.using(using).create(country_id=code)
    visits = dict(Visit.objects.using(using).values_list("pk", "country__key"))

    turned = [change("country", key, code=code) for key, code in zip("rqp", "xzy", strict=True)]
    grove(using, [START, *turned, *cities, END])
    assert dict(City.objects.using(using).values_list("key", "country__key")) == {
        key: key for key in "pqr"
    }
    assert dict(Visit.objects.using(using).values_list("pk", "country__key")) == visits
    assert parked(using) == {}
