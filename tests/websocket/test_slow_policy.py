"""A policy that is slow for some users delays nobody else's frames."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import models

from durable_state.feed import threads
from durable_state.models import Stream
from durable_state.policy import StatePolicy
from tests.feed.support.client import Client
from tests.feed.support.commits import commit_and_ring, make_stream, message

from .support.socket import Socket

pytestmark = pytest.mark.django_db(transaction=True)

opened = threading.Event()


class SlowForSome(StatePolicy):
    """Hangs for users called slow."""

    def streams(self, user: Any) -> models.QuerySet[Stream]:
        """All."""
        return Stream.objects.all()

    def rows(self, user: Any, queryset: models.QuerySet[Any]) -> models.QuerySet[Any]:
        """All, after a while."""
        if user.username.startswith("slow"):
            opened.wait(30)
        return queryset


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """What the slow ones wait for."""
    opened.clear()
    yield opened
    opened.set()


async def test_slow_users_delay_nobody_else(
    gate: threading.Event, make_user: Any, as_user: Any, configure: Callable[..., None]
) -> None:
    """Six users' `rows()` hang, more than there are places: another's first frames, and the next
    change, come as usual.
    """
    configure(POLICY="tests.websocket.test_slow_policy.SlowForSome", FEED_POLL_SECONDS=1000)
    stream = await sync_to_async(make_stream)()
    await commit_and_ring(stream, {("message", "a"): message("x")})
    slow = []
    for number in range(threads.PLACES + 2):
        user = await sync_to_async(make_user)(name=f"slow{number}")
        slow.append(Socket(as_user(user), "/ws/state/chat/"))
        assert await slow[-1].connect() is None

    began = time.monotonic()
    quick = Socket(as_user(await sync_to_async(make_user)(name="quick")), "/ws/state/chat/")
    assert await quick.connect() is None
    client = Client()
    while not client.up_to_date:
        client.fold(await quick.receive_text())
    await commit_and_ring(stream, {("message", "b"): message("y")})
    while ("message", "b") not in client.state:
        client.fold(await quick.receive_text())
    assert time.monotonic() - began < 4
    assert all([await each.receive_nothing(0.01) for each in slow])

    gate.set()
    for each in slow:
        assert await each.receive_text()
    await asyncio.gather(*(each.disconnect() for each in [*slow, quick]))
