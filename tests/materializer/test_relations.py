"""Parents, unique values, and the application's own rows that point to synced ones."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import models as django_models
from django.test.utils import isolate_apps
from hypothesis import given
from hypothesis import strategies as st

from durable_state import EntityMapping
from durable_state.consumer import release
from durable_state.materializer.shown.release import Release
from durable_state.models import DeadLetter, ParkedChange, Stream
from durable_state.testing import apply
from tests.app.models import Author, Clipping, Commit, Person, Remark, Room
from tests.app.state_mappings import PersonMapping
from tests.examples import lenient
from tests.mappings import remap
from tests.tables import apply_batch, tables_of
from tests.wire import change, commit_by, delete

pytestmark = [
    pytest.mark.django_db(transaction=True, databases="__all__"),
    pytest.mark.usefixtures("writer"),
]


@pytest.fixture
def room(database: str) -> Room:
    """A room whose stream is called r."""
    stream = Stream.objects.using(database).create(name="r", url="http://tests.invalid/r")
    return Room.objects.using(database).create(title="room", stream=stream)


@contextmanager
def tries(tried: list[str]) -> Iterator[None]:
    """Records the keys of parked changes that are tried."""
    original = Release._try

    def spy(self: Release, plan: Any, candidates: list[ParkedChange]) -> None:
        tried.extend(parked.key for parked in candidates)
        original(self, plan, candidates)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Release, "_try", spy)
        yield


def emails(database: str) -> dict[str, Any]:
    return dict(Person.objects.using(database).values_list("key", "email"))


def test_a_child_waits_for_its_parent(database: str) -> None:
    """It is parked if it comes first, and shown in the commit that brings the parent."""
    assert apply("h", [commit_by("c", "a")], using=database) == (0, 1, 0)
    parked = ParkedChange.objects.using(database).get()
    assert (parked.type, parked.key, parked.reason) == ("commit", "c", "parent")
    assert "'a'" in parked.detail
    assert apply("h", [change("author", "a", commits=1)], using=database) == (1, 0, 0)
    assert Commit.objects.using(database).get().author.key == "a"
    assert not ParkedChange.objects.using(database).exists()


@pytest.mark.parametrize("first", ["folder", "author"])
def test_who_misses_two_parents_waits_for_the_other_when_one_has_come(
    database: str, first: str
) -> None:
    """Whichever stream brings its parent first: the child is shown with the last one."""
    parents = {
        "folder": ("ring", change("folder", "f", parent="f")),
        "author": ("wire", change("author", "a")),
    }
    apply("press-1", [change("clipping", "c", folder="f", author="a")], using=database)
    press = Stream.objects.using(database).get(name="press-1")
    for kind in (first, *(parents.keys() - {first})):
        parked = ParkedChange.objects.using(database).get()
        assert parked.waits_type in parents
        name, parent = parents.pop(kind)
        apply(name, [parent], using=database)
        release(press, None)
    assert not ParkedChange.objects.using(database).exists()
    assert Clipping.objects.using(database).get(author__key="a").key == "c"


def test_within_one_batch_order_does_not_matter(database: str) -> None:
    """A child that comes before its parent in the same batch is simply shown."""
    assert apply("h", [commit_by("c", "a"), change("author", "a", commits=1)], using=database) == (
        2,
        0,
        0,
    )


def test_deleting_a_parent_parks_its_children(database: str) -> None:
    """They go with it, and come back with it; a deleted one does not."""
    apply("h", [change("author", "a"), commit_by("c", "a"), commit_by("d", "a")], using=database)
    apply("h", [change("author", "a", "delete")], using=database)
    assert not Commit.objects.using(database).exists()
    assert ParkedChange.objects.using(database).count() == 2
    apply("h", [change("commit", "d", "delete"), change("author", "a")], using=database)
    assert [c.key for c in Commit.objects.using(database).all()] == ["c"]
    assert not ParkedChange.objects.using(database).exists()


def test_set_null_children_stay_and_are_linked_again(database: str, room: Room) -> None:
    """If the foreign key says SET_NULL, the child is shown without its parent, and relinked in
    the same row when it returns.
    """
    apply("r", [change("person", "boss"), change("person", "p", boss="boss")], using=database)
    before = Person.objects.using(database).get(key="p")
    apply("r", [change("person", "boss", "delete")], using=database)
    alone = Person.objects.using(database).get(key="p")
    assert (alone.pk, alone.boss) == (before.pk, None)
    apply("r", [change("person", "boss")], using=database)
    again = Person.objects.using(database).get(key="p")
    assert again.pk == before.pk
    assert again.boss is not None
    assert again.boss.key == "boss"


def test_a_taken_unique_value_waits(database: str, room: Room) -> None:
    """The older claim is shown, the younger parked until the value is free."""
    assert apply(
        "r", [change("person", "a", email="x"), change("person", "b", email="x")], using=database
    ) == (1, 1, 0)
    assert emails(database) == {"a": "x"}
    apply("r", [change("person", "a", "update", email="y")], using=database)
    assert emails(database) == {"a": "y", "b": "x"}


def test_a_swap_of_unique_values_in_one_batch(database: str, room: Room) -> None:
    """Two entities exchange a unique value and keep their rows."""
    apply("r", [change("person", "a", email="x"), change("person", "b", email="y")], using=database)
    before = dict(Person.objects.using(database).values_list("key", "pk"))
    apply(
        "r",
        [change("person", "a", "update", email="y"), change("person", "b", "update", email="x")],
        using=database,
    )
    assert emails(database) == {"a": "y", "b": "x"}
    assert dict(Person.objects.using(database).values_list("key", "pk")) == before


def test_a_unique_value_passes_from_the_deleted(database: str, room: Room) -> None:
    """A value whose holder goes in the same batch is free."""
    apply("r", [change("person", "a", email="x")], using=database)
    assert apply(
        "r", [change("person", "b", email="x"), change("person", "a", "delete")], using=database
    ) == (2, 0, 0)
    assert emails(database) == {"b": "x"}


def test_only_those_are_tried_whose_values_holder_moved(database: str, room: Room) -> None:
    """Thousands may wait for values; a change that frees none of them costs as much as without
    them.
    """
    many = [change("person", f"{name}{n}", email=f"m{n}") for n in range(60) for name in "ab"]
    assert apply("r", many, using=database) == (60, 60, 0)
    tried: list[str] = []
    with tries(tried):
        apply("r", [change("person", "a7", "update", email="m7", boss="a1")], using=database)
        assert tried == []
        apply(
            "r",
            [change("person", "a8", "delete"), change("person", "a9", email="other")],
            using=database,
        )
    assert sorted(tried) == ["b8", "b9"]
    shown = emails(database)
    assert (shown["b8"], shown["b9"], shown["a9"]) == ("m8", "m9", "other")
    assert ParkedChange.objects.using(database).count() == 58


@pytest.mark.parametrize("size", [1, 3])
def test_who_loses_one_value_takes_no_other(database: str, room: Room, size: int) -> None:
    """A row that cannot be shown because of one value blocks nobody with its other values,
    however the stream is cut.
    """
    remap(
        "person",
        PersonMapping,
        key_field="id",
        fields={"key": "name", "email": "email"},
    )
    stream = [
        change("person", "1", name="k", email="x"),
        change("person", "2", name="l", email="x"),
        change("person", "3", name="l", email="y"),
    ]
    for start in range(0, len(stream), size):
        apply("r", stream[start : start + size], using=database)
    assert emails(database) == {"k": "x", "l": "y"}
    assert ParkedChange.objects.using(database).get().key == "2"


def test_rows_outside_the_mappings_follow_on_delete(database: str) -> None:
    """The application's remarks are deleted with the author, as its model says."""
    apply("h", [change("author", "a"), change("author", "b")], using=database)
    for author in Author.objects.using(database).all():
        Remark.objects.using(database).create(author=author, text=author.key)
    apply("h", [change("author", "a", "delete")], using=database)
    assert [remark.text for remark in Remark.objects.using(database).all()] == ["b"]


def test_a_protecting_row_keeps_its_parent(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """PROTECT: the delete is refused as a dead letter, the other deletes of the batch succeed."""
    monkeypatch.setattr(
        Remark._meta.get_field("author").remote_field, "on_delete", django_models.PROTECT
    )
    apply("h", [change("author", key) for key in "abc"], using=database)
    Remark.objects.using(database).create(
        author=Author.objects.using(database).get(key="b"), text="keep"
    )
    done = apply("h", [change("author", key, "delete") for key in "abc"], using=database)
    assert done == (2, 0, 1)
    assert [author.key for author in Author.objects.using(database).all()] == ["b"]
    assert DeadLetter.objects.using(database).get().reason == "protected"


def test_a_snapshot_keeps_rows_that_return(database: str) -> None:
    """Keys that return keep primary key, the application's columns and the rows that point
    there; others go.
    """
    apply(
        "h",
        [change("author", "a", commits=1), change("author", "gone"), commit_by("c", "a")],
        using=database,
    )
    kept = Author.objects.using(database).get(key="a")
    Remark.objects.using(database).create(author=kept, text="mine")
    start, end = ({"headers": {"control": f"snapshot-{edge}"}} for edge in ("start", "end"))
    apply("h", [start, commit_by("c", "a"), change("author", "a", commits=2)], using=database)
    assert Author.objects.using(database).count() == 2, (
        "the old rows are shown until the snapshot's end"
    )
    apply("h", [end], using=database)
    author = Author.objects.using(database).get()
    assert (author.pk, author.commits) == (kept.pk, 2)
    assert Remark.objects.using(database).get().author_id == kept.pk
    assert Commit.objects.using(database).get().author_id == kept.pk


_keys = st.sampled_from("abcd")
_people = st.builds(
    lambda key, operation, email, boss: change("person", key, operation, email=email, boss=boss),
    _keys,
    st.sampled_from(["insert", "update", "delete"]),
    st.sampled_from([None, "x", "y"]),
    st.one_of(st.none(), _keys),
)


@lenient(40)
@given(cut=st.lists(st.lists(_people, min_size=1, max_size=6), max_size=6))
def test_shown_and_parked_are_the_fold(database: str, cut: list[list[dict[str, Any]]]) -> None:
    """Each entity of the fold is shown as it is, or parked for a valid reason; nothing else
    exists anywhere.
    """
    stream = Stream.objects.using(database).create(name="p", url="http://tests.invalid/p")
    Room.objects.using(database).create(title="room", stream=stream)
    try:
        folded: dict[str, dict[str, Any]] = {}
        for batch in cut:
            apply_batch(stream, batch, True)
            for message in batch:
                folded.pop(message["key"], None)
                if "value" in message:
                    folded[message["key"]] = message["value"]
        people = {p.key: p for p in Person.objects.using(database).select_related("boss")}
        parked = {p.key: p for p in ParkedChange.objects.using(database).filter(stream=stream)}
        waiting = {key for key, change in parked.items() if not change.is_link}
        stale = {key for key, change in parked.items() if change.stale}
        assert people.keys() | waiting == folded.keys()
        assert people.keys() & waiting == stale
        for key, person in people.items():
            if key in stale:
                continue
            assert person.email == folded[key]["email"]
            boss = person.boss.key if person.boss else None
            assert boss == folded[key]["boss"] or (
                boss is None and key in parked and folded[key]["boss"] not in people
            )
        for key in waiting:
            holders = [p.key for p in people.values() if p.email == folded[key]["email"]]
            assert holders, parked[key].detail
            assert not {*holders} & stale, parked[key].detail
        stream.refresh_from_db()
        counts = [getattr(stream, f.name) for f in Stream._meta.fields if f.name.endswith("_count")]
        assert sum(counts) == stream.ordinal
    finally:
        Person.objects.using(database).all().delete()
        stream.delete()


def test_a_parent_named_by_a_proxy_of_its_model(database: str) -> None:
    """Its row is that of the mapped model: waited for, pointed to, and unlinked from."""
    with isolate_apps("tests.app"):

        class Ship(django_models.Model):
            key = django_models.CharField(max_length=20, unique=True)

            class Meta:
                app_label = "app"

        class Flagship(Ship):
            class Meta:
                app_label = "app"
                proxy = True

        class Sailor(django_models.Model):
            key = django_models.CharField(max_length=20, unique=True)
            ship = django_models.ForeignKey(Flagship, django_models.CASCADE)

            class Meta:
                app_label = "app"

    remap("ship", EntityMapping, model=Ship, key_field="key", fields=[])
    remap("sailor", EntityMapping, model=Sailor, key_field="key", fields=["ship"])
    with tables_of(database, Ship, Sailor):
        sailors = Sailor._base_manager.using(database)
        sailor, ship = change("sailor", "ann", ship="aurora"), change("ship", "aurora")
        assert apply("s", [sailor], using=database) == (0, 1, 0)
        assert apply("s", [ship], using=database) == (1, 0, 0)
        assert list(sailors.values_list("key", "ship__key")) == [("ann", "aurora")]
        pk = sailors.get().pk

        assert apply("s", [delete("ship", "aurora")], using=database) == (1, 0, 0)
        assert not sailors.exists()
        assert apply("s", [ship], using=database) == (1, 0, 0)
        assert list(sailors.values_list("pk", "ship__key")) == [(pk, "aurora")]
