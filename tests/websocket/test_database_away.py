"""Sockets while the database of their streams cannot be reached: PostgreSQL, in earnest."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User

from durable_state.feed import outage, renewal
from durable_state.websocket import heart
from tests.feed.support.away import Away, postgres_behind_a_proxy
from tests.feed.support.commits import commit, make_stream, message, shown

from .support.many import ManyStreams
from .support.socket import Socket

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "postgres"])


@pytest.fixture
def away(configure: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> Iterator[Away]:
    """The streams are in a PostgreSQL that can be taken away."""
    configure(POLICY="tests.feed.support.away.OnPostgres", FEED_POLL_SECONDS=0.05)
    monkeypatch.setattr(outage, "_warned_at", float("-inf"))
    monkeypatch.setattr(outage, "RETRY_SECONDS", 0.1)
    monkeypatch.setattr(renewal, "RENEW_SECONDS", 0.05)
    with postgres_behind_a_proxy() as away:
        yield away


async def test_a_new_socket_is_told_to_come_back(
    away: Away, make_user: Any, as_user: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """1013, and one line in the log for all of them; the sockets that are open go on."""
    stream = await sync_to_async(make_stream)(using="postgres")
    await sync_to_async(commit)(stream, {})
    application = as_user(await sync_to_async(make_user)())
    old = ManyStreams(application)
    await old.connect()
    await old.ask(subscribe="chat")
    await old.until_live("chat")

    await sync_to_async(away.begin)()
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            single = Socket(application, "/ws/state/chat/")
            assert await single.connect() is None
            assert await single.close_code() == 1013
        await old.ask(subscribe="chat", id="again")
        await old.until(lambda self: "again" in self.closed)
        await asyncio.sleep(0.3)  # for polling and renewals
    assert old.closed == {"again": 1013}
    assert caplog.text.count("no answer, trying again") == 1
    assert "Traceback" not in caplog.text

    await sync_to_async(away.end)()
    await sync_to_async(commit)(stream, {("message", "a"): message("x")})
    expected = await sync_to_async(shown)(stream)
    await old.ask(subscribe="chat", id="again")

    def is_same(socket: ManyStreams, name: str) -> bool:
        return name in socket.clients and socket.clients[name].state == expected

    await old.until(lambda self: is_same(self, "chat") and is_same(self, "again"))
    await old.disconnect()


async def by_postgres(scope: Any) -> Any:
    """The project's own authentication, which asks that database."""
    from durable_state.models import Stream

    await Stream.objects.using("postgres").aexists()
    return await User.objects.aget()


@pytest.mark.parametrize("grace", [60.0, 0.0])
async def test_a_token_counts_while_it_cannot_be_checked(
    grace: float,
    away: Away,
    make_user: Any,
    as_user: Any,
    configure: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """For GRACE_SECONDS; a new socket is told to come back."""
    configure(WEBSOCKET_AUTHENTICATION=f"{__name__}.by_postgres")
    monkeypatch.setattr(heart, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(outage, "GRACE_SECONDS", grace)
    await sync_to_async(make_user)()
    socket = ManyStreams(as_user(None))
    await socket.connect()
    await socket.read()
    await sync_to_async(away.begin)()
    new = Socket(as_user(None), "/ws/state/")
    await new.connect()
    assert await new.close_code() == 1013
    if grace:
        await asyncio.sleep(0.3)
        await socket.ask(ping=1)
        assert await socket.read() == {"pong": 1}
        await socket.disconnect()
    else:
        assert await socket.close_code() == 1013
