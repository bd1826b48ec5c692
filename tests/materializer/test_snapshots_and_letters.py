"""Resets, snapshots and replays: what is shown meanwhile, what a switch does to rows and
letters, what a letter is good for.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.db import models as django_models
from django.test import override_settings

from durable_state import operations
from durable_state.errors import TooManyDeadLetters
from durable_state.materializer.staged import switch
from durable_state.models import DeadLetter, KeptRow, ParkedChange
from durable_state.testing import apply
from tests.app.models import Author, Commit, Employee, Folder, Quota, Remark
from tests.tables import adds_up, replay
from tests.wire import END, RESET, START, change, commit_by


@pytest.fixture
def protecting(using: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The same database, where the application's remarks protect their author."""
    monkeypatch.setattr(
        Remark._meta.get_field("author").remote_field, "on_delete", django_models.PROTECT
    )
    return using


def remark_on(key: str, using: str) -> None:
    Remark.objects.using(using).create(author=Author.objects.using(using).get(key=key), text="mine")


def authors(using: str) -> dict[str, int]:
    return dict(Author.objects.using(using).values_list("key", "commits"))


def test_a_letter_is_met_again_in_each_snapshot(using: str) -> None:
    """Snapshots in which everything is refused replace each other's letters."""
    for ordinal in (2, 5):
        apply("h", [START, change("author", "bad", commits="x"), END], using=using)
        assert DeadLetter.objects.using(using).get().ordinal == ordinal
    adds_up("h", using)


def test_a_letter_that_names_no_entity_survives_a_snapshot(using: str) -> None:
    """Nothing that comes later makes its message valid."""
    odd = {"type": "author", "headers": {"operation": "insert"}, "value": {}}
    apply("h", [odd, change("author", "bad", commits="x")], using=using)
    apply("h", [START, change("author", "bad", commits=1), odd, END], using=using)
    assert authors(using) == {"bad": 1}
    assert [each.ordinal for each in DeadLetter.objects.using(using).order_by("ordinal")] == [1, 5]
    adds_up("h", using)


def test_letters_of_an_open_snapshot_count_for_the_limit(using: str, settings: Any) -> None:
    """As if it were shown already; the letters that it replaces do not count as well."""
    settings.DURABLE_STATE = {"DEAD_LETTER_LIMIT": 2}
    bad = [change("author", f"bad{n}", commits="x") for n in range(5)]
    apply("h", bad[:2], using=using)
    apply("h", [START, *bad[2:4]], using=using)
    with pytest.raises(TooManyDeadLetters):
        apply("h", bad[4:], using=using)
    apply("h", [END], using=using)
    letters = DeadLetter.objects.using(using).order_by("ordinal")
    assert list(letters.values_list("key", "generation")) == [("bad2", 0), ("bad3", 0)]


def test_a_letter_of_a_switch_speaks_as_the_message_did(using: str) -> None:
    """A refusal that only the database finds appears long after the message; the letter still
    has the names of the wire.
    """
    apply("office", [RESET, change("quota", "a", inUse=50)], using=using)
    letter = DeadLetter.objects.using(using).get()
    assert (letter.ordinal, letter.reason) == (2, "integrity")
    message = json.loads(bytes(letter.body))
    assert (message["type"], message["key"], message["value"]) == ("quota", "a", {"inUse": 50})
    assert not Quota.objects.using(using).exists()


def test_a_letter_holds_the_message_byte_for_byte(using: str) -> None:
    """With its spaces, its repeated members and its spelling of numbers."""
    message = (
        b'{ "type":"author",  "key":"a", "value": {"commits": 1.70, "commits": 1.7e0},'
        b' "headers":{"operation":"insert"}}'
    )
    apply("h", [message], using=using)
    assert bytes(DeadLetter.objects.using(using).get().body) == message


def test_a_letter_of_a_switch_is_retried_once_the_reason_is_mended(
    using: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row is made from the letter's message, with the current mapping and defaults."""
    apply("office", [RESET, change("quota", "a", inUse=50)], using=using)
    monkeypatch.setattr(Quota._meta.get_field("cap"), "_get_default", lambda: 100)
    assert operations.retry(DeadLetter.objects.using(using).get(), actor="test")
    row = Quota.objects.using(using).get()
    assert (row.used, row.cap) == (50, 100)


def test_a_change_that_the_database_refused_is_refused_in_a_replay(using: str) -> None:
    """The row keeps the last accepted values, whether the changes come one by one or folded
    together.
    """
    messages = [change("quota", "a", inUse=1), change("quota", "a", inUse=50)]
    apply("office", messages, using=using)
    assert Quota.objects.using(using).get().used == 1
    replay("office", using)
    apply("office", messages, using=using)
    assert Quota.objects.using(using).get().used == 1
    assert DeadLetter.objects.using(using).get().ordinal == 2
    adds_up("office", using)


def test_a_replay_that_ends_in_an_open_snapshot_empties_nothing(using: str) -> None:
    """After a reset, or at the very beginning, the snapshot is what the rows are going to be;
    the old ones stay until its end.
    """
    messages = [change("author", "a"), RESET, START, change("author", "b")]
    for history in (messages, messages[2:]):
        apply("h", [change("author", "old"), *history], using=using)
        shown = {author.key for author in Author.objects.using(using).all()}
        assert shown
        replay("h", using)
        apply("h", history, using=using)
        assert {author.key for author in Author.objects.using(using).all()} == shown
        apply("h", [END], using=using)
        assert [author.key for author in Author.objects.using(using).all()] == ["b"]
        adds_up("h", using)


def test_a_protected_row_that_a_snapshot_lacks_has_a_letter(protecting: str) -> None:
    """It has to stay, and is not silently extra."""
    apply("h", [change("author", "a"), change("author", "b")], using=protecting)
    remark_on("b", protecting)
    apply("h", [START, change("author", "a"), END], using=protecting)
    assert authors(protecting).keys() == {"a", "b"}
    letter = DeadLetter.objects.using(protecting).get()
    assert (letter.key, letter.reason) == ("b", "protected")
    adds_up("h", protecting)


def test_an_update_before_a_refused_delete_is_shown(protecting: str) -> None:
    """The row stays with the last accepted value, though both came in one batch."""
    apply("h", [change("author", "a", commits=1)], using=protecting)
    remark_on("a", protecting)
    apply(
        "h",
        [change("author", "a", "update", commits=2), change("author", "a", "delete")],
        using=protecting,
    )
    assert authors(protecting) == {"a": 2}
    assert DeadLetter.objects.using(protecting).get().reason == "protected"


@override_settings(DURABLE_STATE={"DEAD_LETTER_LIMIT": 5})
def test_letters_of_a_switch_count_for_the_limit(using: str) -> None:
    """The commit that would show the rows halts."""
    apply(
        "office",
        [RESET, *(change("quota", str(i), inUse=50) for i in range(20))],
        using=using,
        up_to_date=False,
    )
    with pytest.raises(TooManyDeadLetters):
        apply("office", [], using=using)


def test_a_snapshot_that_follows_a_reset_leaves_no_hole(using: str) -> None:
    """The old rows are shown until the snapshot is complete, even if the tail is reached before."""
    apply("h", [change("author", "a"), change("author", "gone")], using=using)
    apply("h", [RESET, START, change("author", "a")], using=using)
    assert authors(using).keys() == {"a", "gone"}
    apply("h", [END], using=using)
    assert authors(using).keys() == {"a"}


def test_children_that_a_snapshot_lacks_are_gone_for_good(using: str) -> None:
    """They go with their parent, and do not wait for it: it may come back without them."""
    apply("h", [change("author", "p"), commit_by("c", "p")], using=using)
    apply("h", [START, change("author", "q"), END], using=using)
    assert not Commit.objects.using(using).exists()
    assert not ParkedChange.objects.using(using).exists()
    apply("h", [change("author", "p")], using=using)
    assert not Commit.objects.using(using).exists()


def test_a_tree_that_a_snapshot_lacks_is_gone_for_good(using: str) -> None:
    """More rows than are deleted at once, all under one of them."""
    staff = [change("employee", f"e{i}", boss="e0" if i else None) for i in range(700)]
    apply("office", staff, using=using)
    apply("office", [START, change("employee", "new"), END], using=using)
    assert [employee.key for employee in Employee.objects.using(using).all()] == ["new"]
    assert not ParkedChange.objects.using(using).exists()


def test_a_ring_that_a_snapshot_lacks_is_gone_for_good(
    using: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if a row goes with its parent before the snapshot is asked about the row itself."""
    monkeypatch.setattr(switch, "KEYS_PER_READ", 1)
    apply(
        "ring", [change("folder", "a", parent="a"), change("folder", "b", parent="a")], using=using
    )
    apply("ring", [START, change("folder", "c", parent="c"), END], using=using)
    assert [folder.key for folder in Folder.objects.using(using).all()] == ["c"]
    assert not ParkedChange.objects.using(using).exists()
    assert not KeptRow.objects.using(using).exists()


def test_a_child_that_a_snapshot_gives_to_another_parent_keeps_its_row(using: str) -> None:
    """Though its old parent goes in the same switch."""
    apply("h", [change("author", "p"), commit_by("c", "p")], using=using)
    before = Commit.objects.using(using).get().pk
    messages: list[dict[str, Any]] = [START, change("author", "q"), commit_by("c", "q"), END]
    apply("h", messages, using=using)
    commit = Commit.objects.using(using).get()
    assert (commit.pk, commit.author.key) == (before, "q")
