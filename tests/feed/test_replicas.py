"""A router that sends reads to a replica does not part subscribers from the bell."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User

from durable_state.feed import Hub, bell
from durable_state.models import Stream
from durable_state.policy import followed_stream
from tests.feed.support.commits import make_stream

pytestmark = pytest.mark.django_db(transaction=True)


class Replicas:
    """Reads go to an alias that does not exist, so that a read there fails."""

    def db_for_read(self, model: Any, **hints: Any) -> str:
        """The replica."""
        return "replica"

    def db_for_write(self, model: Any, **hints: Any) -> str:
        """The primary."""
        return "default"


def test_a_stream_is_followed_where_it_is_written(settings: Any) -> None:
    """Its rows and its log are read there; a bell has the name that the commit gives it."""
    stream = make_stream()
    settings.DATABASE_ROUTERS = ["tests.feed.test_replicas.Replicas"]
    found = followed_stream(User(pk=1, is_superuser=True), "chat")
    assert found is not None
    assert found.using == "default"

    read_elsewhere = Stream.objects.using("default").get(pk=stream.pk)
    read_elsewhere._state.db = "replica"
    for each in (found, read_elsewhere):
        hub = Hub(each)
        assert hub.using == "default"
        assert hub._group == bell.group_name("chat", stream.pk, "default")
