"""Data of another tenant is neither shown nor hinted at."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db.models import QuerySet

from durable_state import StatePolicy
from durable_state.models import Stream
from tests.app.models import Message
from tests.feed.support.commits import commit_and_ring, make_stream, message

from .support.many import ManyStreams
from .support.socket import Socket

pytestmark = pytest.mark.django_db(transaction=True)


class Tenants(StatePolicy):
    """Everybody reads the stream with their name; in it, the texts of popular messages."""

    def streams(self, user: Any) -> QuerySet[Stream]:
        return Stream.objects.filter(name=user.username)

    def rows(self, user: Any, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(likes__gt=10) if queryset.model is Message else queryset.none()

    def fields(self, user: Any, type: str) -> Collection[str] | None:
        return ["text"]


async def test_nothing_of_another_tenant_is_sent(
    make_user: Any, as_user: Any, configure: Callable[..., None]
) -> None:
    """Not by a guessed name or key, another's offset, a row that is hidden again, or a deletion."""
    configure(POLICY=f"{__name__}.Tenants")
    ada = await sync_to_async(make_user)(name="ada")
    bob = await sync_to_async(make_user)(name="bob")
    own, other = [await sync_to_async(make_stream)(name) for name in ("ada", "bob")]
    for stream in (own, other):
        rows = {("message", "popular"): message("shown", 20), ("message", "no"): message("no", 1)}
        await commit_and_ring(stream, {**rows, ("setting", "s"): "hidden"})

    theirs = ManyStreams(as_user(bob))
    await theirs.connect()
    await theirs.ask(subscribe="bob")
    await theirs.until_live("bob")
    offset = theirs.clients["bob"].offset

    socket = ManyStreams(as_user(ada))
    await socket.connect()
    await socket.ask(subscribe="bob", offset=offset)
    await socket.ask(subscribe="ada", offset=offset)
    await socket.ask(subscribe="ada", id="guessed", keys=["no", "s"], types=["message", "setting"])
    await socket.until_live("ada", "guessed")
    await socket.until(lambda self: self.closed == {"bob": 4403})
    client = socket.clients["ada"]
    assert client.state == {("message", "popular"): {"text": "shown"}}

    await commit_and_ring(
        own, {("message", "popular"): message("secret", 2), ("message", "no"): None}
    )
    await socket.until(lambda self: client.state == {})
    await commit_and_ring(own, {("message", "popular"): None, ("message", "end"): message("x", 20)})
    await socket.until(lambda self: ("message", "end") in client.state)
    assert client.mentioned == {("message", "popular"), ("message", "end")}
    deleted = [item for frame in client.frames for item in frame["items"] if item.get("key")]
    assert {
        "type": "message",
        "key": "popular",
        "headers": {"operation": "delete"},
    } in deleted
    assert "secret" not in str(client.frames)
    assert not socket.clients["guessed"].mentioned
    await socket.disconnect()
    await theirs.disconnect()


async def test_a_foreign_page_opens_nothing(as_user: Any, make_user: Any, settings: Any) -> None:
    """Although the browser sends the cookie."""
    settings.ALLOWED_HOSTS = ["testserver"]
    user = await sync_to_async(make_user)(superuser=True)
    for path in ("/ws/state/", "/ws/state/chat/"):
        headers = [(b"host", b"testserver"), (b"origin", b"https://evil.test")]
        socket = Socket(as_user(user), path, headers)
        assert await socket.connect() == 4403
        await socket.disconnect()
