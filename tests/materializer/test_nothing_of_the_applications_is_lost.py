"""The application's columns, primary keys and rows survive whatever a stream does for a moment."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connections

from durable_state.models import DeadLetter, FeedEntry, KeptRow, Stream
from durable_state.testing import apply
from tests.app.grove import (
    Bottle,
    Branch,
    City,
    Depot,
    Desk,
    Gauge,
    Guard,
    Hamper,
    Leaf,
    Mark,
    Seal,
    Sign,
    Visit,
)
from tests.mappings import remap
from tests.tables import adds_up, replay
from tests.wire import END, RESET, START, change, delete

from .support.grove import branch, grove, leaf, parked

pytestmark = [pytest.mark.usefixtures("writer")]


def annotate(using: str, key: str = "c") -> Leaf:
    """Gives a leaf values that only the application knows, and returns it."""
    Leaf.objects.using(using).filter(key=key).update(note="mine", details={"a": [1, None]})
    row = Leaf.objects.using(using).get(key=key)
    Mark.objects.using(using).create(leaf=row)
    return row


def is_untouched(using: str, before: Leaf) -> bool:
    """Whether the leaf is still the same row, with everything that points to it."""
    row = Leaf.objects.using(using).get(key=before.key)
    names = ("pk", "note", "details", "seen_at")
    assert [getattr(row, n) for n in names] == [getattr(before, n) for n in names]
    return Mark.objects.using(using).filter(leaf=row).exists()


def test_a_change_that_has_to_wait_leaves_the_row_as_it_was(using: str) -> None:
    """Its parent is missing: the row stays with its old one, and is updated in place later."""
    grove(using, [branch("q"), leaf("c", "q")])
    before = annotate(using)
    grove(using, [leaf("c", "p")])
    assert parked(using) == {"c": ("parent", True)}
    assert Leaf.objects.using(using).get().branch.key == "q"
    assert is_untouched(using, before)
    grove(using, [branch("p")])
    assert Leaf.objects.using(using).get().branch.key == "p"
    assert parked(using) == {}
    assert is_untouched(using, before)


def test_a_stale_row_yields_what_another_needs_and_comes_back(using: str) -> None:
    """Its primary key and the application's columns are kept meanwhile, including what Django
    sets on each save.
    """
    grove(using, [branch("q"), leaf("c", "q", "x")])
    before = annotate(using)
    grove(using, [leaf("c", "p", "y")], [leaf("d", "q", "x")])
    assert parked(using) == {"c": ("parent", False)}
    assert Leaf.objects.using(using).get().key == "d"
    assert KeptRow.objects.using(using).get().key == "c"
    grove(using, [branch("p")])
    row = Leaf.objects.using(using).get(key="c")
    assert (row.pk, row.note, row.details) == (before.pk, "mine", {"a": [1, None]})
    assert (row.seen_at, row.tag) == (before.seen_at, "y")
    assert not KeptRow.objects.using(using).exists()


def test_what_was_kept_of_a_row_comes_back_with_a_snapshot(using: str) -> None:
    """Its parent had gone; the snapshot brings both."""
    grove(using, [branch("p"), leaf("c", "p")])
    Leaf.objects.using(using).update(note="mine")
    before = Leaf.objects.using(using).get()
    grove(using, [delete("branch", "p")], [branch("q"), leaf("d", "q")])
    assert parked(using) == {"c": ("parent", False)}
    grove(using, [START, branch("p"), leaf("c", "p"), END])
    row = Leaf.objects.using(using).get()
    assert (row.key, row.pk, row.note) == ("c", before.pk, "mine")
    assert not KeptRow.objects.using(using).exists()


def test_a_row_that_becomes_stale_yields_to_who_has_waited(using: str) -> None:
    """The holder's newer change loses to a third; its older row is then in nobody's way."""
    grove(using, [branch("q"), leaf("a", "q", "y"), leaf("d", "q")], [leaf("b", "q", "y")])
    assert parked(using) == {"b": ("unique", False)}
    grove(using, [leaf("d", "q", "x"), leaf("a", "q", "x")])
    assert dict(Leaf.objects.using(using).values_list("key", "tag")) == {"d": "x", "b": "y"}
    assert parked(using) == {"a": ("unique", False)}


def test_a_stale_row_is_told_of_once(using: str) -> None:
    """One that waits for it, and loses to it as well as to another, is not tried for ever."""
    wanted = [("c", "x", "w"), ("a", "y", "u"), ("b", "y", "w"), ("a", "y", "w")]
    for key, code, phone in wanted:
        grove(using, [change("depot", key, "upsert", code=code, phone=phone)])
    assert parked(using) == {"a": ("unique", True), "b": ("unique", False)}
    grove(using, [change("depot", "c", "delete")])
    shown = Depot.objects.using(using).values_list("key", "code", "phone")
    assert list(shown) in ([("a", "y", "w")], [("b", "y", "w")])
    assert len(parked(using)) == 1


def test_a_protected_stale_row_yields_when_nothing_protects_it(using: str) -> None:
    """One that needs its value waits for that, and nothing announces when it is free."""
    grove(using, [branch("p"), leaf("c", "p", "t")])
    guard = Guard.objects.using(using).create(leaf=annotate(using))
    grove(using, [leaf("c", "q")], [leaf("d", "p", "t")])
    assert parked(using) == {"c": ("parent", True), "d": ("unique", False)}
    assert not KeptRow.objects.using(using).exists()  # the row itself has it all
    guard.delete()
    grove(using, [])
    assert parked(using) == {"c": ("parent", False)}
    assert Leaf.objects.using(using).get().key == "d"


def test_a_child_that_went_with_its_parent_comes_back_as_it_was(using: str) -> None:
    """The stream deletes the parent and brings it again."""
    grove(using, [branch("q"), leaf("c", "q")])
    before = annotate(using)
    grove(using, [delete("branch", "q")])
    assert not Leaf.objects.using(using).exists()
    grove(using, [branch("q")])
    row = Leaf.objects.using(using).get()
    assert (row.pk, row.note, row.seen_at) == (before.pk, "mine", before.seen_at)


def test_a_kept_primary_key_that_another_row_has_by_now(using: str) -> None:
    """The application has taken it: the row comes back under a new one."""
    grove(using, [branch("q"), leaf("c", "q", "x")])
    before = annotate(using)
    grove(using, [delete("branch", "q")])
    apply("grove", [branch("r")], using=using)
    other = Branch.objects.using(using).get(key="r")
    Leaf.objects.using(using).create(pk=before.pk, key="application's", branch=other)
    grove(using, [branch("q")])
    row = Leaf.objects.using(using).get(key="c")
    assert (row.pk == before.pk, row.tag, row.note) == (False, "x", "")
    assert parked(using) == {}
    assert not KeptRow.objects.using(using).exists()


def test_what_was_kept_is_gone_with_the_entity(using: str) -> None:
    """An entity that the stream deletes and inserts again is a new row."""
    grove(using, [branch("q"), leaf("c", "q")])
    before = annotate(using)
    grove(using, [delete("branch", "q")], [delete("leaf", "c")], [branch("q"), leaf("c", "q")])
    row = Leaf.objects.using(using).get()
    assert (row.pk == before.pk, row.note) == (False, "")
    assert not KeptRow.objects.using(using).exists()


def test_a_swap_of_unique_values_in_two_batches_keeps_both_rows(using: str) -> None:
    """The first half waits for the second; together they exchange the values in place."""
    grove(using, [branch("q"), leaf("c", "q", "x"), leaf("d", "q", "y")])
    rows = [annotate(using, "c"), annotate(using, "d")]
    grove(using, [leaf("c", "q", "y")], [leaf("d", "q", "x")])
    assert dict(Leaf.objects.using(using).values_list("key", "tag")) == {"c": "y", "d": "x"}
    assert all(is_untouched_but_tag(using, row) for row in rows)


def is_untouched_but_tag(using: str, before: Leaf) -> bool:
    row = Leaf.objects.using(using).get(key=before.key)
    return row.pk == before.pk and Mark.objects.using(using).filter(leaf=row).exists()


@pytest.mark.parametrize("further", [[], [delete("branch", "q")]], ids=["alone", "old-parent-goes"])
def test_a_batch_that_brings_a_grandparent_destroys_nothing(using: str, further: list[Any]) -> None:
    """The new parent waits for its own; when that comes in the same batch, the child has a
    parent all the time.
    """
    grove(using, [branch("q")], [branch("p1", boss="g")], [leaf("c", "q")])
    before = annotate(using)
    grove(using, [branch("g"), leaf("c", "p1"), *further])
    assert Leaf.objects.using(using).get().branch.key == "p1"
    assert is_untouched(using, before)


def test_a_child_leaves_its_parent_before_that_goes(using: str) -> None:
    """Another entity wants its old parent's unique value, so it would have to go first."""
    grove(using, [branch("p1", "s"), branch("p2"), leaf("c", "p1")])
    before = annotate(using)
    grove(using, [leaf("c", "p2"), delete("branch", "p1"), branch("p3", "s")])
    assert Branch.objects.using(using).get(slug="s").key == "p3"
    assert is_untouched(using, before)
    # Even to one that takes the value itself.
    grove(using, [branch("p4", "s"), leaf("c", "p4"), delete("branch", "p3")])
    assert Leaf.objects.using(using).get().branch.key == "p4"
    assert is_untouched(using, before)
    assert parked(using) == {}


@pytest.mark.parametrize("by", [1, 3, 17])
@pytest.mark.parametrize("field", ["slug", "tag"])
def test_a_returning_key_keeps_its_row(
    using: str, by: int, field: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A snapshot, read a few entities at a time, in which each takes another's unique value."""
    monkeypatch.setattr("durable_state.materializer.staged.staging.READ", 5)
    count = 40

    def everybody(moved: int) -> list[Any]:
        name = [f"v{(number + moved) % count}" for number in range(count)]
        if field == "slug":
            return [branch(f"k{number}", name[number]) for number in range(count)]
        return [branch("q"), *(leaf(f"k{number}", "q", name[number]) for number in range(count))]

    model: Any = Branch if field == "slug" else Leaf
    grove(using, everybody(0))
    before = dict(model.objects.using(using).values_list("key", "pk"))
    model.objects.using(using).update(note="mine")
    grove(using, [START], everybody(by), [END])
    rows = model.objects.using(using)
    assert dict(rows.values_list("key", "pk")) == before
    assert set(rows.values_list("note", flat=True)) == {"mine"}
    found = {key: value for key, value in rows.values_list("key", field) if key != "q"}
    assert found == {f"k{number}": f"v{(number + by) % count}" for number in range(count)}
    assert parked(using) == {}


def test_a_switch_leaves_a_protected_row_as_it_is(using: str) -> None:
    """Entirely: nothing of it may be taken away, and subscribers are told nothing."""
    grove(using, [branch("q"), leaf("c", "q", "x")])
    Guard.objects.using(using).create(leaf=Leaf.objects.using(using).get())
    grove(using, [START, branch("q"), END])
    assert Leaf.objects.using(using).get().tag == "x"
    assert DeadLetter.objects.using(using).get().reason == "protected"
    grove(using, [START, branch("q"), leaf("d", "q", "x"), END])
    assert Leaf.objects.using(using).get().key == "c"
    assert parked(using) == {"d": ("unique", False)}
    Guard.objects.using(using).all().delete()
    grove(using, [])
    assert Leaf.objects.using(using).get().key == "d"
    assert not DeadLetter.objects.using(using).exists()
    adds_up("grove", using)


def test_a_protected_delete_is_tried_again(using: str) -> None:
    """When the obstacle is gone, the next commit deletes the row; nobody has to ask."""
    grove(using, [branch("q"), leaf("c", "q")])
    guard = Guard.objects.using(using).create(leaf=Leaf.objects.using(using).get())
    grove(using, [delete("branch", "q")])
    assert DeadLetter.objects.using(using).get().key == "q"
    grove(using, [branch("other")])
    assert DeadLetter.objects.using(using).exists()
    guard.delete()
    grove(using, [branch("more")])
    assert not DeadLetter.objects.using(using).exists()
    assert not Branch.objects.using(using).filter(key="q").exists()
    assert parked(using) == {"c": ("parent", False)}


# Constraints that a mapping cannot compare


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"email": "Ann@x"}, {"email": "ANN@X"}),
        (
            {"email": "a", "phone": "5", "active": True},
            {"email": "b", "phone": "5", "active": True},
        ),
    ],
    ids=["expression", "condition"],
)
def test_a_value_passes_from_the_deleted(
    using: str, first: dict[str, Any], second: dict[str, Any]
) -> None:
    """In one batch as in two, whichever comes first."""
    if second.get("active") and not connections[using].features.supports_partial_indexes:
        second = {**second, "email": "A"}  # MySQL has no conditional uniqueness: then the other one
    gives, takes = delete("sign", "a"), change("sign", "b", **second)
    for batches in ([[gives, takes]], [[takes, gives]], [[takes], [gives]], [[gives], [takes]]):
        grove(using, [change("sign", "a", **first)], *batches)
        assert [sign.key for sign in Sign.objects.using(using).all()] == ["b"]
        assert not DeadLetter.objects.using(using).exists()
        assert parked(using) == {}
        grove(using, [delete("sign", "b")])


@pytest.mark.parametrize("together", [True, False])
def test_a_swap_that_only_the_database_can_see(using: str, together: bool) -> None:
    """Two entities exchange values that differ only in case."""
    grove(using, [change("sign", "a", email="one"), change("sign", "b", email="two")])
    Sign.objects.using(using).update(note="mine")
    before = dict(Sign.objects.using(using).values_list("key", "pk"))
    swap = [change("sign", "a", email="TWO"), change("sign", "b", email="ONE")]
    grove(using, *([swap] if together else [[each] for each in swap]))
    rows = Sign.objects.using(using)
    assert dict(rows.values_list("key", "email")) == {"a": "TWO", "b": "ONE"}
    assert dict(rows.values_list("key", "pk")) == before
    assert set(rows.values_list("note", flat=True)) == {"mine"}
    assert not DeadLetter.objects.using(using).exists()
    assert parked(using) == {}


def test_who_comes_too_late_is_parked_and_shown_when_the_value_is_free(using: str) -> None:
    """No dead letter: it is the other row that is in the way."""
    grove(using, [change("sign", "a", email="one")], [change("sign", "b", email="ONE")])
    assert parked(using) == {"b": ("unique", False)}
    grove(using, [change("sign", "a", email="two")])
    assert dict(Sign.objects.using(using).values_list("key", "email")) == {"a": "two", "b": "ONE"}
    assert parked(using) == {}
    adds_up("grove", using)


def test_a_snapshot_exchanges_what_only_the_database_can_see(using: str) -> None:
    """The switch keeps the rows, too."""
    grove(using, [change("sign", "a", email="one"), change("sign", "b", email="two")])
    before = dict(Sign.objects.using(using).values_list("key", "pk"))
    swap = [change("sign", "a", email="TWO"), change("sign", "b", email="ONE")]
    grove(using, [START, *swap, END])
    rows = Sign.objects.using(using)
    assert dict(rows.values_list("key", "email")) == {"a": "TWO", "b": "ONE"}
    assert dict(rows.values_list("key", "pk")) == before
    assert parked(using) == {}


# Parents named by a column that the stream writes


@pytest.mark.parametrize("snapshot", [False, True])
def test_children_follow_a_value_that_changes_hands(using: str, snapshot: bool) -> None:
    """Each stays with its parent, the application's rows too."""
    countries = [change("country", "p", code="x"), change("country", "q", code="y")]
    cities = [change("city", "c", country="p"), change("city", "d", country="q")]
    grove(using, countries + cities)
    visit = Visit.objects.using(using).create(country_id="x")
    swap = [change("country", "p", code="y"), change("country", "q", code="x")]
    grove(using, [START, *swap, *cities, END] if snapshot else swap)
    assert dict(City.objects.using(using).values_list("key", "country__key")) == {
        "c": "p",
        "d": "q",
    }
    visit.refresh_from_db(using=using)
    assert visit.country.key == "p"
    grove(using, [change("country", "p", code="z")])
    visit.refresh_from_db(using=using)
    assert (visit.country_id, City.objects.using(using).get(key="c").country_id) == ("z", "z")
    connections[using].check_constraints()


# Tables in between


def test_a_child_behind_a_table_of_the_applications_waits(using: str) -> None:
    """The row goes by cascade; the stream still holds the entity, so it is parked and the feed
    reports it.
    """
    grove(using, [branch("q")])
    hamper = Hamper.objects.using(using).create(branch=Branch.objects.using(using).get())
    grove(using, [change("bottle", "b", hamper=hamper.pk)])
    Bottle.objects.using(using).update(note="mine")
    before = Bottle.objects.using(using).get().pk
    grove(using, [delete("branch", "q")])
    assert not Bottle.objects.using(using).exists()
    assert parked(using) == {"b": ("parent", False)}
    assert b'"bottle"' in bytes(FeedEntry.objects.using(using).order_by("-revision")[0].changes)

    grove(using, [branch("q")])
    Hamper.objects.using(using).create(pk=hamper.pk, branch=Branch.objects.using(using).get())
    grove(using, [])
    row = Bottle.objects.using(using).get()
    assert (row.pk, row.note) == (before, "mine")
    assert parked(using) == {}


@pytest.mark.parametrize("kind", ["do-nothing", "set-default", "set-null-check"])
def test_a_delete_that_the_applications_rows_cannot_follow(
    using: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That delete becomes a dead letter; the stream continues."""
    from django.db import models

    grove(using, [branch("q"), leaf("c", "q")])
    row = Leaf.objects.using(using).get()
    mark = Mark.objects.using(using).create(leaf=row)
    field: Any = Mark._meta.get_field("leaf")
    if kind == "do-nothing":
        monkeypatch.setattr(field.remote_field, "on_delete", models.DO_NOTHING)
    elif kind == "set-default":
        monkeypatch.setattr(field.remote_field, "on_delete", models.SET_DEFAULT)
        monkeypatch.setattr(field, "default", 2**40)
        monkeypatch.setattr(field, "_get_default", lambda: 2**40)
    else:
        monkeypatch.setattr(field.remote_field, "on_delete", models.SET_NULL)  # NOT NULL
    assert apply("grove", [delete("branch", "q"), branch("r")], using=using).dead_letters == 1
    assert DeadLetter.objects.using(using).get().reason == "protected"
    assert Leaf.objects.using(using).get().pk == row.pk
    assert Branch.objects.using(using).count() == 2
    monkeypatch.undo()
    mark.delete()
    grove(using, [])
    assert not Leaf.objects.using(using).exists()


def test_a_child_whose_parent_is_away_has_the_default_one(using: str) -> None:
    """SET_DEFAULT, in whatever batch, and linked when its own parent comes."""
    grove(using, [branch("home")])
    home = Branch.objects.using(using).get()
    field: Any = Desk._meta.get_field("branch")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(field, "default", home.pk)
        patch.setattr(field, "_get_default", lambda: home.pk)
        grove(using, [change("desk", "d", branch="p")])
        assert Desk.objects.using(using).get().branch_id == home.pk
        grove(using, [branch("p")])
        assert Desk.objects.using(using).get().branch.key == "p"  # type: ignore[union-attr]
        grove(using, [delete("branch", "p")])
        assert Desk.objects.using(using).get().branch_id == home.pk
        grove(using, [branch("p")])
        assert Desk.objects.using(using).get().branch.key == "p"  # type: ignore[union-attr]


def test_nobody_waits_for_a_value_that_nobody_holds(using: str) -> None:
    """The holder is the child of the one that waits; when it goes, the value is free."""
    mapping = type(next(m for m in _mappings() if m.entity_type == "branch"))
    remap("branch", mapping)
    grove(
        using,
        [branch("b", "u")],
        [branch("c", "v", boss="b"), branch("b", "v"), END, delete("branch", "c")],
    )
    assert dict(Branch.objects.using(using).values_list("key", "slug")) == {"b": "v"}
    assert parked(using) == {}


def _mappings() -> list[Any]:
    from durable_state.registry import registry

    return list(registry)


def seal(key: str, values: str, above: str | None = None) -> Any:
    return change("seal", key, "upsert", front=values[0], back=values[1], above=above)


@pytest.mark.parametrize("rounds", [0, 1, 8])
def test_one_that_joins_for_its_value_only_ends_a_joint_showing(
    using: str, rounds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It misses no parent, as all others of the set do; the commit still ends."""
    monkeypatch.setattr("durable_state.materializer.shown.placement.LEVELS", rounds)
    before = [seal("c", "vu", "b"), seal("a", "uu", "c"), seal("b", "ww"), seal("b", "vw", "b")]
    grove(using, *([each] for each in [*before, seal("a", "vw", "a"), seal("a", "vw")]))
    batch = [seal("c", "uw"), delete("seal", "a"), seal("c", "wv", "a"), seal("a", "vv")]
    grove(using, batch)
    shown = {row.key: row.front + row.back for row in Seal.objects.using(using).all()}
    folded = {"a": "vv", "b": "vw", "c": "wv"}
    waiting = {key for key, (reason, stale) in parked(using).items() if not stale}
    assert shown.keys() | waiting == folded.keys()
    assert all(folded[key] == shown[key] for key in shown.keys() - parked(using).keys())


# Changes that only the database refuses


@pytest.mark.parametrize("end", ["batch", "live", "snapshot", "reset"])
def test_a_change_that_the_database_refuses_leaves_the_one_before(using: str, end: str) -> None:
    """Live, in a batch, in a snapshot and after a reset: the same rows, the same letter."""
    levels = [7, 8, -7, -8]
    changes = [change("gauge", "k", level=level) for level in levels]
    batches = {
        "batch": [changes],
        "live": [[each] for each in changes],
        "snapshot": [[START], *([each] for each in changes), [END]],
        "reset": [[RESET, *changes[:1]], changes[1:3], changes[3:], [START, *changes, END]],
    }[end]
    grove(using, *batches)
    assert Gauge.objects.using(using).get().level == 8
    letter = DeadLetter.objects.using(using).get()
    assert (letter.reason, b"-8" in bytes(letter.body)) == ("integrity", True)
    adds_up("grove", using)


def test_a_row_that_no_accepted_change_made_goes(using: str) -> None:
    """It was the application's, and was adopted; the stream's only change of it is refused."""
    from durable_state.models import TableOwner

    stream = Stream.objects.using(using).create(name="grove", url="http://tests.invalid/grove")
    Gauge.objects.using(using).create(key="k1", level=5)
    TableOwner.objects.using(using).create(model="app.gauge", stream=stream)
    messages = [change("gauge", "k1", level=-1), change("gauge", "k2", level=7)]
    replay("grove", using)
    grove(using, [*messages, change("gauge", "k2", level=-7)])
    assert dict(Gauge.objects.using(using).values_list("key", "level")) == {"k2": 7}
    assert set(DeadLetter.objects.using(using).values_list("key", flat=True)) == {"k1", "k2"}


def test_a_letter_of_a_merge_holds_the_whole_entity(using: str) -> None:
    """The database refuses it only at a switch; tried again, the letter restores the earlier
    entity.
    """
    from durable_state.operations.letters import retry

    apply(
        "merging-grove",
        [
            START,
            change("gauge", "k", level=5, name="n"),
            change("gauge", "k", "update", level=-5),
            END,
        ],
        using=using,
    )
    letter = DeadLetter.objects.using(using).get()
    assert b'"name":"n"' in bytes(letter.body).replace(b": ", b":")
    assert Gauge.objects.using(using).get().level == 5
    with connections[using].constraint_checks_disabled():
        letter.body = bytes(letter.body).replace(b"-5", b"6")
        letter.save()
    assert retry(letter, actor="tests")
    row = Gauge.objects.using(using).get()
    assert (row.level, row.name) == (6, "n")
