"""Updates that merge, and changes that wait: nothing known about an entity is lost on the way."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Group

from durable_state.models import DeadLetter, ParkedChange, Stream
from durable_state.testing import apply
from tests.app.models import Author, Commit, Employee, Quota, Ticket
from tests.tables import adds_up
from tests.wire import END, RESET, START, change, commit_by


def employee(using: str, key: str) -> Employee:
    return Employee.objects.using(using).select_related("boss").get(key=key)


def parked_keys(using: str) -> list[str]:
    return sorted(ParkedChange.objects.using(using).values_list("key", flat=True))


def test_a_merge_does_not_give_up_a_unique_value_that_it_leaves_out(using: str) -> None:
    """A newcomer that claims the value in the same batch waits."""
    apply("office", [change("employee", "a", email="x")], using=using)
    apply(
        "office",
        [change("employee", "a", "update", name="n"), change("employee", "b", email="x")],
        using=using,
    )
    assert not DeadLetter.objects.using(using).exists()
    assert parked_keys(using) == ["b"]


def test_a_merge_that_waits_for_its_parent_keeps_the_other_fields(using: str) -> None:
    """The row's earlier values are there again once the parent has come."""
    apply("office", [change("employee", "a", email="x", name="Ann")], using=using)
    apply("office", [change("employee", "a", "update", boss="z")], using=using)
    apply("office", [change("employee", "z")], using=using)
    ann = employee(using, "a")
    assert ann.boss is not None
    assert (ann.email, ann.name, ann.boss.key) == ("x", "Ann", "z")


def test_a_merge_that_waits_for_a_unique_value_keeps_the_other_fields(using: str) -> None:
    """It gets the value when the holder gives it up, and nothing else has changed."""
    apply(
        "office",
        [change("employee", "a", email="x"), change("employee", "b", email="y", name="B")],
        using=using,
    )
    apply("office", [change("employee", "b", "update", email="x")], using=using)
    assert parked_keys(using) == ["b"]
    apply("office", [change("employee", "a", "update", email="z")], using=using)
    assert (employee(using, "b").email, employee(using, "b").name) == ("x", "B")


def test_a_merge_does_not_forget_a_parent_that_is_away(using: str) -> None:
    """A child whose parent was deleted, and that is merged meanwhile, is linked when the parent
    returns.
    """
    apply("office", [change("employee", "z"), change("employee", "a", boss="z")], using=using)
    apply("office", [change("employee", "z", "delete")], using=using)
    apply("office", [change("employee", "a", "update", name="Ann")], using=using)
    apply("office", [change("employee", "z")], using=using)
    ann = employee(using, "a")
    assert ann.boss is not None
    assert (ann.name, ann.boss.key) == ("Ann", "z")


@pytest.mark.parametrize(
    "before",
    [
        pytest.param([], id="never-there"),
        pytest.param([change("quota", "k", inUse=1), change("quota", "k", "delete")], id="deleted"),
    ],
)
def test_a_refused_merge_leaves_nothing_for_the_next(
    using: str, before: list[dict[str, Any]]
) -> None:
    """The first merge lacks a required field and is refused with all its values, in one batch as
    in many.
    """
    messages = [
        *before,
        change("quota", "k", "update", spare=5),
        change("quota", "k", "update", inUse=1),
    ]
    outcomes = []
    for batches in ([[message] for message in messages], [messages]):
        for batch in batches:
            apply("merging-office", batch, using=using)
        letters = DeadLetter.objects.using(using).values_list("ordinal", "reason")
        outcomes.append(
            (list(Quota.objects.using(using).values_list("key", "used", "spare")), list(letters))
        )
        Quota.objects.using(using).all().delete()
        Stream.objects.using(using).all().delete()
    assert outcomes[0] == outcomes[1]
    assert outcomes[0][0] == [("k", 1, 0)]


def test_a_merge_starts_anew_in_each_snapshot(using: str) -> None:
    """Rows from before a reset and a snapshot are not part of it; what follows the snapshot
    merges with its rows.
    """
    messages = [
        change("employee", "a", email="x", name="A"),
        RESET,
        change("employee", "a", "update", name="B"),
        START,
        change("employee", "a", email="q"),
        END,
        change("employee", "a", "update", boss="z"),
        change("employee", "z"),
    ]
    apply("office", messages, using=using)
    adds_up("office", using)
    row = employee(using, "a")
    assert row.boss is not None
    assert (row.email, row.name, row.boss.key) == ("q", "anonymous", "z")


def test_a_parked_change_that_the_database_refuses_becomes_a_letter(using: str) -> None:
    """Its turn comes when the unique value is free; a CHECK that it violates then stops nothing
    else.
    """
    messages = [change("employee", "a", email="x"), change("employee", "b", email="x", grade=50)]
    assert apply("office", messages, using=using) == (1, 1, 0)
    apply("office", [change("employee", "a", "update", email="y")], using=using)
    assert parked_keys(using) == []
    assert DeadLetter.objects.using(using).get().key == "b"
    assert employee(using, "a").email == "y"
    adds_up("office", using)


def test_a_child_of_the_applications_own_table_waits_for_it(using: str) -> None:
    """The parent is named by the column that the foreign key points to, and looked for at each
    commit.
    """
    assert apply("office", [change("ticket", "5", group="staff")], using=using) == (0, 1, 0)
    Group.objects.using(using).create(name="staff")
    apply("office", [], using=using)
    assert Ticket.objects.using(using).get().group_id == "staff"
    assert parked_keys(using) == []


def test_a_child_waits_for_a_parent_of_another_stream(using: str) -> None:
    """The child's stream looks for it at its own next commit."""
    apply("one", [change("author", "a")], using=using)
    apply("two", [commit_by("c", "a"), commit_by("d", "later")], using=using)
    assert [commit.key for commit in Commit.objects.using(using).all()] == ["c"]
    apply("one", [change("author", "later")], using=using)
    apply("two", [], using=using)
    assert Commit.objects.using(using).count() == 2


def test_a_parent_stays_while_a_child_of_another_stream_points_to_it(using: str) -> None:
    """The other stream still holds the child, so the delete is refused as a dead letter."""
    apply("one", [change("author", "a"), change("author", "b")], using=using)
    apply("two", [commit_by("c", "a")], using=using)
    apply("one", [change("author", "a", "delete"), change("author", "b", "delete")], using=using)
    assert Commit.objects.using(using).get().author.key == "a"
    assert [author.key for author in Author.objects.using(using).all()] == ["a"]
    letter = DeadLetter.objects.using(using).get()
    assert (letter.key, letter.reason) == ("a", "protected")


@pytest.mark.parametrize(
    "end",
    [
        pytest.param(
            [change("employee", "a", "delete"), change("employee", "b", "delete")], id="deletes"
        ),
        pytest.param([RESET], id="reset"),
    ],
)
def test_rows_that_point_to_each_other_go_together(using: str, end: list[dict[str, Any]]) -> None:
    """A parent and its child in the same table are deleted in one batch, even if the database
    checks row by row.
    """
    apply("office", [change("employee", "a"), change("employee", "b", boss="a")], using=using)
    apply("office", end, using=using)
    assert not Employee.objects.using(using).exists()
    assert parked_keys(using) == []
