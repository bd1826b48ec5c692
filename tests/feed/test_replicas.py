"""A router that sends reads to a replica does not separate subscribers from the bell."""

from __future__ import annotations

from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User

from durable_state.feed import bell, subscribe
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


async def test_a_stream_is_followed_where_it_is_written(settings: Any) -> None:
    """Its rows and its log are read there; a bell has the name that the commit gives it."""
    stream = await sync_to_async(make_stream)()
    settings.DATABASE_ROUTERS = ["tests.feed.test_replicas.Replicas"]
    found = await sync_to_async(followed_stream)(User(pk=1, is_superuser=True), "chat")
    assert found is not None
    assert found.using == "default"

    read_elsewhere = await Stream.objects.using("default").aget(pk=stream.pk)
    read_elsewhere._state.db = "replica"
    for each in (found, read_elsewhere):
        async with subscribe(each) as hub:
            assert hub.using == "default"
            assert hub.group == bell.group_name("chat", stream.pk, "default")
