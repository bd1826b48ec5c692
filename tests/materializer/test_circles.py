"""Rows that are each other's parents: shown together, removed together, however the stream is
cut.
"""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest

from durable_state.materializer.staged import staging
from durable_state.models import DeadLetter, ParkedChange
from durable_state.testing import apply
from tests.app.models import DoorKey, Employee, Folder, Lock, Player, Team, Twin
from tests.tables import adds_up, replay
from tests.wire import END, RESET, START, change

pytestmark = [pytest.mark.usefixtures("writer")]

Messages = list[dict[str, Any]]


def folder(key: str, parent: str, **value: Any) -> dict[str, Any]:
    return change("folder", key, parent=parent, **value)


def team(key: str, captain: str | None) -> dict[str, Any]:
    return change("team", key, captain=captain)


def player(key: str, team: str) -> dict[str, Any]:
    return change("player", key, team=team)


def folders(using: str) -> dict[str, str]:
    return dict(Folder.objects.using(using).values_list("key", "parent__key"))


def teams(using: str) -> dict[str, str]:
    return dict(Team.objects.using(using).values_list("key", "captain__key"))


def players(using: str) -> dict[str, str]:
    return dict(Player.objects.using(using).values_list("key", "team__key"))


def parked(using: str) -> list[str]:
    return sorted(ParkedChange.objects.using(using).values_list("key", flat=True))


def check_constraints(using: str) -> None:
    """PostgreSQL and SQLite check foreign keys at the end of a transaction, which these tests
    never reach.
    """
    from django.db import connections

    connections[using].check_constraints()


def test_a_row_that_is_its_own_parent(using: str) -> None:
    """It is shown at once, though it must have a parent and none exists before it."""
    assert apply("ring", [folder("a", "a", size=3)], using=using) == (1, 0, 0)
    row = Folder.objects.using(using).get()
    assert (row.parent_id, row.size) == (row.pk, 3)
    check_constraints(using)


@pytest.mark.parametrize("batches", [1, 2, 3])
def test_a_longer_circle(using: str, batches: int) -> None:
    """The batch that closes it shows it, whichever that is; until then all of it waits."""
    ring = [folder("a", "b"), folder("b", "c"), folder("c", "a")]
    cuts = {1: [ring], 2: [ring[:1], ring[1:]], 3: [[each] for each in ring]}[batches]
    for batch in cuts[:-1]:
        apply("ring", batch, using=using)
        assert folders(using) == {}
    apply("ring", cuts[-1], using=using)
    assert folders(using) == {"a": "b", "b": "c", "c": "a"}
    assert parked(using) == []
    check_constraints(using)
    adds_up("ring", using)


def test_a_circle_that_may_be_open(using: str) -> None:
    """SET_NULL makes no difference to new rows: they wait until the circle is closed."""
    apply("office", [change("employee", "a", boss="b")], using=using)
    assert parked(using) == ["a"]
    apply("office", [change("employee", "b", boss="a")], using=using)
    assert dict(Employee.objects.using(using).values_list("key", "boss__key")) == {
        "a": "b",
        "b": "a",
    }


@pytest.mark.parametrize("order", list(permutations(range(3))))
@pytest.mark.parametrize("size", [1, 2, 3])
def test_a_circle_of_two_types(using: str, order: tuple[int, ...], size: int) -> None:
    """A team and its captain, and one more player, in any order and any batches."""
    messages = [team("t", "p"), player("p", "t"), player("q", "t")]
    messages = [messages[each] for each in order]
    for start in range(0, 3, size):
        apply("ring", messages[start : start + size], using=using)
    assert (teams(using), players(using)) == ({"t": "p"}, {"p": "t", "q": "t"})
    assert parked(using) == []
    check_constraints(using)


@pytest.mark.parametrize("size", [1, 2])
def test_a_circle_without_an_open_place(using: str, size: int) -> None:
    """Neither may be NULL, and neither primary key is known before its row exists."""
    messages = [
        change("lock", "front", spare="s"),
        change("doorkey", "s", lock="front"),
        change("lock", "back", spare="r"),
        change("doorkey", "r", lock="back"),
    ]
    for start in range(0, 4, size):
        apply("ring", messages[start : start + size], using=using)
    assert dict(Lock.objects.using(using).values_list("key", "spare__key")) == {
        "front": "s",
        "back": "r",
    }
    assert dict(DoorKey.objects.using(using).values_list("key", "lock__key")) == {
        "s": "front",
        "r": "back",
    }
    check_constraints(using)
    apply("ring", [change("lock", "front", "delete")], using=using)
    assert (Lock.objects.using(using).count(), DoorKey.objects.using(using).count()) == (1, 1)
    assert parked(using) == ["s"]


def test_a_circle_by_keys(using: str) -> None:
    """Even if the key is the primary key; and unique references are exchanged."""
    apply(
        "ring",
        [
            change("twin", "a", other="b"),
            change("twin", "b", other="a"),
            change("twin", "c", other="c"),
        ],
        using=using,
    )
    assert dict(Twin.objects.using(using).values_list("code", "other")) == {
        "a": "b",
        "b": "a",
        "c": "c",
    }
    apply(
        "ring",
        [
            change("twin", "a", other="c"),
            change("twin", "c", other="b"),
            change("twin", "b", other="a"),
        ],
        using=using,
    )
    assert dict(Twin.objects.using(using).values_list("code", "other")) == {
        "a": "c",
        "b": "a",
        "c": "b",
    }
    assert parked(using) == []
    check_constraints(using)
    apply("ring", [change("twin", key, "delete") for key in "abc"], using=using)
    assert not Twin.objects.using(using).exists()


def test_a_long_line_in_one_batch(using: str) -> None:
    """Three hundred generations, youngest first, take no statement each."""
    from django.db import connections
    from django.test.utils import CaptureQueriesContext

    line = [folder(str(n), str(max(n - 1, 0))) for n in range(300)]
    with CaptureQueriesContext(connections[using]) as queries:
        apply("ring", line[::-1], using=using)
    assert folders(using) == {str(n): str(max(n - 1, 0)) for n in range(300)}
    assert len(queries) < 120
    check_constraints(using)
    apply("ring", [change("folder", "0", "delete")], using=using)
    assert folders(using) == {}
    assert len(parked(using)) == 299


def test_what_hangs_on_a_circle_waits_with_it(using: str) -> None:
    """A member that waits for two parents does not hide that the circle is closed when the other
    one comes.
    """
    apply("ring", [player("p", "t"), player("q", "u")], using=using)
    apply("ring", [team("u", "p")], using=using)
    assert (teams(using), players(using)) == ({}, {})
    apply("ring", [team("t", "q")], using=using)
    assert (teams(using), players(using)) == ({"t": "q", "u": "p"}, {"p": "t", "q": "u"})
    check_constraints(using)


def test_deleting_one_of_a_circle_parks_the_others(using: str) -> None:
    """They come back with it."""
    ring = [folder("a", "b"), folder("b", "c"), folder("c", "a"), folder("d", "a")]
    apply("ring", ring, using=using)
    apply("ring", [change("folder", "b", "delete")], using=using)
    assert (folders(using), parked(using)) == ({}, ["a", "c", "d"])
    apply("ring", [folder("b", "d")], using=using)
    assert folders(using) == {"a": "b", "b": "d", "c": "a", "d": "a"}
    assert parked(using) == []
    check_constraints(using)


def test_deleting_a_circle(using: str) -> None:
    """All of it in one batch, or all but the part that can stand alone."""
    apply("ring", [team("t", "p"), player("p", "t"), player("q", "t")], using=using)
    apply("ring", [change("team", "t", "delete"), change("player", "p", "delete")], using=using)
    assert (teams(using), players(using), parked(using)) == ({}, {}, ["q"])


def test_a_refused_member_does_not_take_the_others_with_it(using: str) -> None:
    """The entity that the database refuses becomes a letter; the rest of its circle waits, other
    circles are shown.
    """
    messages = [folder("a", "b", size=99), folder("b", "a"), folder("c", "d"), folder("d", "c")]
    assert apply("ring", messages, using=using) == (2, 1, 1)
    assert folders(using) == {"c": "d", "d": "c"}
    assert parked(using) == ["b"]
    assert DeadLetter.objects.using(using).get().key == "a"
    apply("ring", [folder("a", "b", size=9)], using=using)
    assert folders(using) == {"a": "b", "b": "a", "c": "d", "d": "c"}
    adds_up("ring", using)


def test_a_member_whose_unique_value_is_taken(using: str) -> None:
    """The circle waits with it and is closed when the value is free."""
    apply("office", [change("employee", "x", email="e")], using=using)
    apply(
        "office",
        [change("employee", "a", boss="b", email="e"), change("employee", "b", boss="a")],
        using=using,
    )
    assert parked(using) == ["a", "b"]
    apply("office", [change("employee", "x", email="f")], using=using)
    assert dict(Employee.objects.using(using).values_list("key", "boss__key")) == {
        "a": "b",
        "b": "a",
        "x": None,
    }
    assert parked(using) == []


@pytest.mark.parametrize("size", [1, 2, 2000])
def test_a_switch_closes_circles_and_keeps_rows(
    using: str, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """Rows that return keep their primary keys, even if they now point to each other, or to
    later rows. However much of the snapshot is read at once.
    """
    monkeypatch.setattr(staging, "READ", size)
    apply(
        "ring", [folder("a", "a"), folder("b", "a"), team("t", None), player("p", "t")], using=using
    )
    before = (
        dict(Folder.objects.using(using).values_list("key", "pk")),
        Team.objects.using(using).get().pk,
    )
    shown = [
        folder("a", "z"),
        folder("b", "a"),
        folder("z", "b"),
        team("t", "q"),
        player("p", "t"),
        player("q", "u"),
        team("u", "p"),
    ]
    apply("ring", [START, *shown, END], using=using)
    assert folders(using) == {"a": "z", "b": "a", "z": "b"}
    assert (teams(using), players(using)) == ({"t": "q", "u": "p"}, {"p": "t", "q": "u"})
    after = dict(Folder.objects.using(using).values_list("key", "pk"))
    assert {key: after[key] for key in before[0]} == before[0]
    assert Team.objects.using(using).get(key="t").pk == before[1]
    check_constraints(using)
    adds_up("ring", using)
    apply("ring", [RESET, folder("a", "b"), folder("b", "a")], using=using)
    assert folders(using) == {"a": "b", "b": "a"}
    assert (teams(using), players(using)) == ({}, {})
    check_constraints(using)


def test_a_replay_leaves_circles_alone(using: str) -> None:
    """Nothing is written again."""
    messages = [folder("a", "b"), folder("b", "a"), team("t", "p"), player("p", "t")]
    apply("ring", messages, using=using)
    before = list(Folder.objects.using(using).order_by("pk").values_list("pk", "key"))
    replay("ring", using)
    apply("ring", messages, using=using)
    assert list(Folder.objects.using(using).order_by("pk").values_list("pk", "key")) == before
    adds_up("ring", using)


def test_rivals_of_one_circle(using: str) -> None:
    """Neither is shown, so neither has the value; when one gives up, the other gets it."""
    messages = [
        change("employee", "a", boss="b", email="x"),
        change("employee", "b", boss="a", email="x"),
    ]
    apply("office", messages, using=using)
    assert parked(using) == ["a", "b"]
    apply("office", [change("employee", "a")], using=using)
    assert dict(Employee.objects.using(using).values_list("key", "email")) == {"a": None, "b": "x"}
    assert parked(using) == []


def test_a_rival_that_is_refused(using: str) -> None:
    """The value that it claimed first is the other's, in the same commit."""
    apply(
        "office",
        [change("employee", "a", email="x", grade=50), change("employee", "b", email="x")],
        using=using,
    )
    assert dict(Employee.objects.using(using).values_list("key", "email")) == {"b": "x"}
    assert parked(using) == []


@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize("had_a_row", [False, True])
def test_a_row_does_not_lose_to_one_that_needs_it(using: str, had_a_row: bool, size: int) -> None:
    """Both want the same unique value, and the older change waits for the younger one's row."""
    if had_a_row:
        apply("ring", [change("twin", "a", other="a")], using=using)
    messages = [change("twin", "a", other="b"), change("twin", "b", other="b")]
    for start in range(0, 2, size):
        apply("ring", messages[start : start + size], using=using)
    stale = {"a": "a"} if had_a_row else {}
    assert dict(Twin.objects.using(using).values_list("code", "other")) == {"b": "b"} | stale
    assert parked(using) == ["a"]
    check_constraints(using)
    apply("ring", [change("twin", "b", other="a"), change("twin", "c", other="c")], using=using)
    assert parked(using) == []
    assert dict(Twin.objects.using(using).values_list("code", "other")) == {
        "a": "b",
        "b": "a",
        "c": "c",
    }
