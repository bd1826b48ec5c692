"""Removing a stream, with its rows or without."""

from __future__ import annotations

from typing import Any

import pytest

from durable_state import operations
from durable_state.errors import OperationRefused
from durable_state.models import (
    DeadLetter,
    FeedEntry,
    Generation,
    Intent,
    ParkedChange,
    Stream,
    TableOwner,
)
from durable_state.testing import apply
from tests.app.models import (
    Author,
    Commit,
    DoorKey,
    Folder,
    Loan,
    Lock,
    Message,
    Player,
    Profile,
    Remark,
    Room,
    Team,
    Twin,
)
from tests.wire import START, change

pytestmark = pytest.mark.django_db


def commit_of(author: str) -> dict[str, Any]:
    """A child of an author."""
    return change(
        "commit", f"c-{author}", author=author, subject="s", authored_at="2026-01-01T00:00:00Z"
    )


@pytest.mark.django_db(transaction=True, databases="__all__")
def test_rows_go_children_first_with_everything_of_the_stream(database: str) -> None:
    """The rows of other streams stay; the application's own rows follow their on_delete."""
    apply(
        "git",
        [change("author", "ada", commits=1), commit_of("ada"), commit_of("nobody"), b"5"],
        using=database,
    )
    apply("git", [change("message", "1", text="mine")], using=database)
    apply("chat", [change("message", "1", text="theirs")], using=database)
    Message.objects.using(database).create(room=None, key="own", text="the application's")
    Remark.objects.using(database).create(author=Author.objects.using(database).get(), text="nice")
    assert (
        ParkedChange.objects.using(database).count()
        == DeadLetter.objects.using(database).count()
        == 1
    )
    assert operations.remove(Stream.objects.using(database).get(name="git"), actor="ada") == 3
    for model in (Author, Commit, Remark, ParkedChange, DeadLetter, TableOwner):
        assert not model._base_manager.using(database).exists(), model
    assert sorted(Message.objects.using(database).values_list("text", flat=True)) == [
        "the application's",
        "theirs",
    ]
    assert list(FeedEntry.objects.using(database).values_list("stream__name", flat=True)) == [
        "chat"
    ]
    assert Intent.objects.using(database).get().detail == "with 3 rows"


@pytest.mark.django_db(transaction=True, databases="__all__")
def test_more_rows_than_one_delete_takes(database: str) -> None:
    """Chunk by chunk, in one transaction."""
    apply(
        "git", [change("author", f"a{place}", commits=1) for place in range(1100)], using=database
    )
    assert operations.remove(Stream.objects.using(database).get(), actor="ada") == 1100
    assert not Author.objects.using(database).exists()


@pytest.mark.django_db(transaction=True, databases="__all__")
def test_rows_can_be_kept(database: str) -> None:
    """From then on they are the application's own, in separate tables and in shared ones."""
    kept = [change("author", "ada", commits=1), change("message", "1", text="hello")]
    apply("git", [*kept, change("loan", "1", title="book")], using=database)
    apply("chat", [change("message", "1", text="theirs")], using=database)
    stream = Stream.objects.using(database).get(name="git")
    assert operations.remove(stream, actor="ada", keep_rows=True) == 0
    assert Author.objects.using(database).count() == 1
    messages = Message.objects.using(database)
    rooms = dict(messages.values_list("text", "room"))
    assert rooms == {"hello": None, "theirs": "chat"}
    assert Loan.objects.using(database).get().stream is None
    assert list(Stream.objects.using(database).values_list("name", flat=True)) == ["chat"]
    assert not TableOwner.objects.using(database).exists()


def test_the_next_stream_of_the_name_does_not_inherit_kept_rows() -> None:
    """It has rows of its own beside them, and removing it takes only these."""
    messages = [change("message", "1", text="old"), change("loan", "1", title="old")]
    apply("git", messages)
    operations.remove(Stream.objects.get(), actor="ada", keep_rows=True)
    apply("git", [change("message", "2", text="new"), change("loan", "1", title="new")])
    new = Stream.objects.get()
    assert [rows.count() for _, rows in operations.owned_rows(new) if rows.exists()] == [1, 1]
    assert operations.remove(new, actor="ada") == 2
    assert [row.text for row in Message.objects.all()] == ["old"]
    assert [row.title for row in Loan.objects.all()] == ["old"]


def test_rows_whose_text_field_may_not_be_null_cannot_be_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They would keep the stream's name, and the next stream of that name would have them."""
    apply("git", [change("message", "1", text="hello")])
    monkeypatch.setattr(Message._meta.get_field("room"), "null", False)
    with pytest.raises(OperationRefused, match="room says whose they are, and may not be NULL"):
        operations.remove(Stream.objects.get(), actor="ada", keep_rows=True)
    assert Message.objects.get().room == "git"


def test_rows_that_would_go_with_the_stream_cannot_be_kept() -> None:
    """A foreign key to Stream that may not be NULL cascades; refusing is better than losing
    rows.
    """
    apply("chat", [change("profile", "ada", name="Ada")])
    with pytest.raises(OperationRefused, match="may not be NULL"):
        operations.remove(Stream.objects.get(), actor="ada", keep_rows=True)
    assert Profile.objects.count() == 1
    assert Stream.objects.count() == 1
    assert not Intent.objects.exists()


def test_an_object_that_stands_for_the_stream_is_no_hindrance() -> None:
    """With a room and without one, whose rows cannot exist."""
    apply("chat", [change("message", "1", text="hello")])
    operations.remove(Stream.objects.get(), actor="ada")
    stream = Stream.objects.create(name="room", url="http://localhost/room")
    Room.objects.create(title="Room", stream=stream)
    apply("room", [change("person", "ada", email="a@example.org")])
    assert operations.remove(Stream.objects.get(), actor="ada") == 1
    assert not Room.objects.exists()


def test_a_table_of_another_stream_is_left_alone() -> None:
    """The mapping serves both; the rows belong to the owner."""
    apply("git", [change("author", "ada", commits=1)])
    other = operations.add("other", "http://localhost/other", actor="ada")
    assert operations.remove(other, actor="ada") == 0
    assert Author.objects.count() == 1


@pytest.mark.django_db(transaction=True, databases="__all__")
def test_a_stream_in_the_middle_of_something_can_be_removed(database: str) -> None:
    """With an open rebuild and an open snapshot, which refer to it and it to them."""
    apply("chat", [change("message", "1", text="one")], using=database)
    stream = Stream.objects.using(database).get()
    operations.reset(stream, actor="ada")
    apply(
        "chat",
        [
            change("message", "1", text="one"),
            START,
            change("message", "2", text="two"),
        ],
        using=database,
        up_to_date=False,
    )
    assert Generation.objects.using(database).count() == 2
    assert operations.remove(stream, actor="ada") == 1
    assert not Generation.objects.using(database).exists()


@pytest.mark.django_db(transaction=True, databases="__all__")
def test_circles_go_with_their_stream(database: str) -> None:
    """Even if the models protect them, or no order of single deletions would work."""
    apply(
        "ring",
        [
            change("folder", "a", parent="b"),
            change("folder", "b", parent="a"),
            change("team", "t", captain="p"),
            change("player", "p", team="t"),
            change("lock", "front", spare="s"),
            change("doorkey", "s", lock="front"),
            change("twin", "x", other="y"),
            change("twin", "y", other="x"),
        ],
        using=database,
    )
    assert operations.remove(Stream.objects.using(database).get(), actor="ada") == 8
    for model in (Folder, Team, Player, Lock, DoorKey, Twin):
        assert not model._base_manager.using(database).exists()


@pytest.mark.django_db(transaction=True, databases="__all__")
def test_rows_of_another_stream_are_not_taken_along(database: str) -> None:
    """They point to rows of this stream, so it stays, and says why."""
    apply("git", [change("author", "ada")], using=database)
    apply("two", [commit_of("ada")], using=database)
    stream = Stream.objects.using(database).get(name="git")
    with pytest.raises(OperationRefused, match="another stream"):
        operations.remove(stream, actor="ada")
    assert Author.objects.using(database).exists()
    assert Commit.objects.using(database).exists()
    assert Stream.objects.using(database).filter(pk=stream.pk).exists()
