"""What narrowed readers hold, in each database."""

from __future__ import annotations

import pytest

from durable_state.feed import log
from durable_state.feed.frames import stream_identity
from durable_state.models import FeedEntry, HeldRows, Stream
from durable_state.rest.feed import held
from tests.feed.support.commits import commit, make_stream, message

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")


def test_keys_are_kept_in_steps(database: str) -> None:
    """Each adds to the one before, twice the same is one, and only its reader gets them."""
    stream = make_stream(using=database)
    first = held.keep(stream, "ada", {"+message": {"a", "é\u2028"}})
    second = held.keep(stream, "ada", {"+message": {"b"}, "-setting": {"s"}}, first)
    assert held.keep(stream, "ada", {"+message": {"a", "é\u2028"}}) == first
    assert HeldRows.objects.using(database).count() == 2
    assert held.load(stream, "ada", first) == ({"+message": {"a", "é\u2028"}}, 1)
    everything = {"+message": {"a", "b", "é\u2028"}, "-setting": {"s"}}
    assert held.load(stream, "ada", second) == (everything, 2)
    assert held.load(stream, "bob", second) is None
    assert held.load(stream, "ada", "0" * 32) is None


def test_an_entry_and_its_stream_have_the_same_stamp(database: str) -> None:
    """To the microsecond, as the bell has it too, however the database keeps it."""
    stream = make_stream(using=database)
    _, payload = commit(stream, {("message", "a"): message("x")})
    stream = Stream.objects.using(database).get()
    entry = FeedEntry.objects.using(database).get()
    told = log.unpack_bell(payload.decode(), stream_identity(stream))
    assert told is not None
    assert told.stamp == log.stamp_of(entry.created_at) == log.stamp_of(stream.logged_at) > 0
