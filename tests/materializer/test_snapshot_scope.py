"""SNAPSHOT_SCOPE "types": a snapshot replaces the types that occur in it, and leaves the others
alone.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.test import override_settings

from durable_state.models import DeadLetter
from durable_state.testing import apply
from tests.app.models import Author, Quota
from tests.tables import adds_up, replay
from tests.wire import END, RESET, START, change


@pytest.fixture(autouse=True)
def _types() -> Iterator[None]:
    with override_settings(DURABLE_STATE={"SNAPSHOT_SCOPE": "types"}):
        yield


def keys(using: str) -> list[str]:
    """The shown authors."""
    return sorted(Author.objects.using(using).values_list("key", flat=True))


def test_letters_of_types_that_do_not_occur_stay(using: str) -> None:
    """A reset that ends in the snapshot leaves the rows and the letters of the other type."""
    messages = [
        RESET,
        change("author", "bad", commits="x"),
        change("author", "ok"),
        START,
        change("quota", "a", inUse=1),
        END,
    ]
    apply("office", messages, using=using)
    assert keys(using) == ["ok"]
    assert Quota.objects.using(using).count() == 1
    assert DeadLetter.objects.using(using).get(generation=0).type == "author"
    adds_up("office", using)


def test_a_snapshot_in_which_a_type_was_only_refused(using: str) -> None:
    """It occurred, so its old rows go; its letter is met once."""
    apply("office", [change("author", "bad", commits="x"), change("author", "ok")], using=using)
    apply("office", [START, change("author", "bad", commits="x"), END], using=using)
    assert keys(using) == []
    letter = DeadLetter.objects.using(using).get()
    assert (letter.key, letter.ordinal) == ("bad", 4)
    adds_up("office", using)


def test_a_snapshot_in_which_a_type_ends_up_empty(using: str) -> None:
    """A type of which the snapshot holds only deletes occurred in it; the other's row is
    compared.
    """
    apply("office", [change("author", "a"), change("quota", "q", inUse=1)], using=using)
    messages = [
        change("author", "b"),
        change("author", "b", "delete"),
        change("quota", "q", inUse=2),
    ]
    apply("office", [START, *messages, END], using=using)
    assert keys(using) == []
    assert Quota.objects.using(using).get().used == 2
    adds_up("office", using)


def test_a_reset_before_the_snapshot_is_counted_once(using: str) -> None:
    """The changes of a type that the snapshot leaves alone are applied, those of replaced types
    superseded.
    """
    messages = [
        RESET,
        change("author", "a"),
        change("author", "b"),
        START,
        change("quota", "q", inUse=1),
        END,
    ]
    apply("office", messages, using=using)
    assert keys(using) == ["a", "b"]
    adds_up("office", using)


def test_a_snapshot_within_a_replay(using: str) -> None:
    """Types that occur only before it come from the replay, those that occur in it from the
    snapshot.
    """
    apply("office", [change("author", "a")], using=using)
    replay("office", using)
    refused = change("quota", "bad", inUse="x")
    messages = [change("author", "a"), refused, START, change("quota", "q", inUse=1), END]
    apply("office", messages, using=using)
    assert keys(using) == ["a"]
    assert [quota.key for quota in Quota.objects.using(using).all()] == ["q"]
    adds_up("office", using)
