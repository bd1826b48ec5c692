"""The rows that narrowed readers hold, in each database."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from durable_state.consumer.cleanup import tidy
from durable_state.feed import log
from durable_state.feed.frames import stream_identity
from durable_state.models import FeedEntry, HeldRows, Stream
from durable_state.rest.feed import held
from tests.feed.support.commits import commit, make_stream, message

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")


def test_keys_are_kept_in_steps(database: str) -> None:
    """Each adds to the one before, storing one twice keeps one, and only its reader gets them."""
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


def test_what_nobody_asks_for_goes(database: str, configure: Callable[..., None]) -> None:
    """With the other outdated rows; one that was loaded, or kept again, stays."""
    configure(FEED_KEEP_SECONDS=1000)
    stream = make_stream(using=database)
    keys = [{"+message": {key}} for key in "abc"]
    digests = [held.keep(stream, "ada", each) for each in keys]
    past = timezone.now() - timedelta(seconds=1)
    HeldRows.objects.using(database).update(expires_at=past)
    assert held.load(stream, "ada", digests[0]) is not None
    assert held.keep(stream, "ada", keys[1]) == digests[1]
    tidy(database)
    assert [held.load(stream, "ada", each) is None for each in digests] == [False, False, True]


def test_an_entry_and_its_stream_have_the_same_stamp(database: str) -> None:
    """To the microsecond, like the bell's, however the database stores it."""
    stream = make_stream(using=database)
    _, payload = commit(stream, {("message", "a"): message("x")})
    stream = Stream.objects.using(database).get()
    entry = FeedEntry.objects.using(database).get()
    told = log.unpack_bell(payload.decode(), stream_identity(stream))
    assert told is not None
    assert told.stamp == log.stamp_of(entry.created_at) == log.stamp_of(stream.logged_at) > 0


def test_a_stamp_is_that_of_what_is_stored_in_an_hour_that_comes_twice(settings: Any) -> None:
    """In a project with local times."""
    settings.TIME_ZONE = "Europe/Berlin"
    again = datetime(2026, 10, 25, 2, 30, fold=1)
    assert log.stamp_of(again) == log.stamp_of(again.replace(fold=0))
