"""A table without a stream field belongs to one stream."""

from __future__ import annotations

import pytest

from durable_state import operations
from durable_state.errors import TableNotOwned
from durable_state.models import DeadLetter, TableOwner
from durable_state.testing import apply
from tests.app.models import Author, Message, Page
from tests.wire import RESET, change

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")


def test_a_second_stream_is_refused(database: str) -> None:
    """The first to write a table owns it; the other halts, and says who owns it."""
    apply("one", [change("author", "a")], using=database)
    with pytest.raises(TableNotOwned, match="belongs to the stream 'one'"):
        apply("two", [change("author", "b"), change("message", "m", text="x")], using=database)
    assert not Message.objects.using(database).exists(), "nothing of the batch was committed"
    apply("two", [change("message", "m", text="x")], using=database)


def test_a_table_with_rows_is_refused(database: str) -> None:
    """Rows that nobody synced are not taken over silently."""
    Author.objects.using(database).create(key="mine")
    with pytest.raises(TableNotOwned, match="add one URL --adopt"):
        apply("one", [change("author", "a")], using=database)


def test_adopted_rows_are_compared_at_the_first_switch(database: str) -> None:
    """Rows that the stream holds stay in place, others go, and none is missing before the first
    fold is complete.
    """
    kept = Author.objects.using(database).create(key="kept")
    Author.objects.using(database).create(key="other")
    operations.add("one", "http://tests.invalid/one", actor="test", adopt=True, using=database)
    apply(
        "one",
        [change("author", "new"), change("author", "kept", commits=3)],
        using=database,
        up_to_date=False,
    )
    assert {author.key for author in Author.objects.using(database).all()} == {"kept", "other"}
    apply("one", [], using=database)
    assert {(author.key, author.commits) for author in Author.objects.using(database).all()} == {
        ("new", 0),
        ("kept", 3),
    }
    assert Author.objects.using(database).get(key="kept").pk == kept.pk


@pytest.mark.parametrize(("size", "reason"), [(50, "integrity"), ("big", "type")])
def test_an_adopted_row_goes_whose_entity_is_refused(
    database: str, size: object, reason: str
) -> None:
    """The stream holds no accepted change of it, so the row counts as one that the stream does
    not hold.
    """
    for key in ("refused", "good"):
        Page.objects.using(database).create(key=key, slug=key, size=5)
    operations.add(
        "office", "http://tests.invalid/office", actor="test", adopt=True, using=database
    )

    good = change("page", "good", slug="good", size=6)
    apply("office", [change("page", "refused", slug="refused", size=size), good], using=database)
    assert dict(Page.objects.using(database).values_list("key", "size")) == {"good": 6}
    letter = DeadLetter.objects.using(database).get()
    assert (letter.key, letter.reason) == ("refused", reason)


def test_other_streams_and_the_applications_rows_are_never_touched(database: str) -> None:
    """A reset of one stream leaves the rows of others, and those whose stream field is NULL."""
    Message.objects.using(database).create(room=None, key="m", text="the application's")
    apply("one", [change("message", "m", text="1")], using=database)
    apply("two", [change("message", "m", text="2")], using=database)
    apply("one", [RESET], using=database)
    texts = set(Message.objects.using(database).values_list("text", flat=True))
    assert texts == {"the application's", "2"}
    assert not TableOwner.objects.using(database).exists()
