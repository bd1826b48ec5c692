"""The websocket: who gets in, what the query selects, and how it ends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from channels.auth import AuthMiddlewareStack
from django.contrib.auth.models import AnonymousUser, User
from django.test import Client as Browser

from durable_state.feed import renewal
from durable_state.models import Stream
from durable_state.websocket import places
from tests.feed.support.client import Client
from tests.feed.support.commits import commit, commit_and_ring, make_stream, message, shown

from .support.socket import Socket

pytestmark = pytest.mark.django_db(transaction=True)


async def opened(application: Any, path: str) -> Socket:
    socket = Socket(application, path)
    assert await socket.connect() is None
    return socket


async def read_until(
    socket: Socket, done: Callable[[Client], bool], client: Client | None = None
) -> Client:
    client = client or Client()
    while not done(client):
        client.fold(await socket.receive_text())
    return client


def up_to_date(client: Client) -> bool:
    return client.up_to_date


async def test_snapshot_live_and_resume(make_user: Any, as_user: Any) -> None:
    """A page gets the rows and then each commit; after a break it gets what it missed."""
    user, stream = (
        await sync_to_async(make_user)(superuser=True),
        await sync_to_async(make_stream)(),
    )
    await commit_and_ring(stream, {("message", "a"): message("one"), ("setting", "s"): [1]})
    socket = await opened(as_user(user), "/ws/state/chat/")
    client = await read_until(socket, up_to_date)
    assert client.state == await sync_to_async(shown)(stream)
    await commit_and_ring(stream, {("message", "a"): None})
    await read_until(socket, lambda client: client.offset.endswith(".2"), client)
    await socket.disconnect()
    await commit_and_ring(stream, {("message", "b"): message("two")})
    socket = await opened(as_user(user), f"/ws/state/chat/?offset={client.offset}")
    client.up_to_date = False
    await read_until(socket, up_to_date, client)
    await socket.disconnect()
    assert client.snapshots == 1
    assert client.state == await sync_to_async(shown)(stream)


async def test_types_are_picked_by_the_query(make_user: Any, as_user: Any) -> None:
    """`type` may be repeated; an unknown one has no rows and is no error."""
    user, stream = (
        await sync_to_async(make_user)(superuser=True),
        await sync_to_async(make_stream)(),
    )
    await commit_and_ring(stream, {("message", "a"): message("one"), ("setting", "s"): [1]})
    for query, names in [
        ("type=setting", {"setting"}),
        ("type=setting&type=message", {"setting", "message"}),
        ("type=unknown", set()),
    ]:
        socket = await opened(as_user(user), f"/ws/state/chat/?{query}")
        client = await read_until(socket, up_to_date)
        assert {name for name, _ in client.state} == names
        await socket.disconnect()


@pytest.mark.parametrize(
    ("who", "name", "code"),
    [
        ("nobody", "chat", 4401),
        ("nobody", "missing", 4401),
        ("no user in scope", "chat", 4401),
        ("inactive", "chat", 4403),
        ("without permission", "chat", 4403),
        ("without permission", "missing", 4404),
        ("superuser", "missing", 4404),
    ],
)
async def test_who_may_not_read_is_told_by_a_code(
    who: str, name: str, code: int, make_user: Any, as_user: Any
) -> None:
    """The socket is accepted and closed with the code; anonymous clients do not learn which
    streams exist.
    """
    await sync_to_async(make_stream)()
    user: Any = await sync_to_async(make_user)(superuser=who in ("superuser", "inactive"))
    if who == "inactive":
        user.is_active = False
    socket = await opened(
        as_user({"nobody": AnonymousUser(), "no user in scope": None}.get(who, user)),
        f"/ws/state/{name}/",
    )
    assert await socket.close_code() == code


async def test_rows_need_their_models_permission(make_user: Any, as_user: Any) -> None:
    """With the view permission of one model only its rows are shown."""
    stream = await sync_to_async(make_stream)()
    await commit_and_ring(stream, {("message", "a"): message("one"), ("setting", "s"): [1]})
    user = await sync_to_async(make_user)("app.view_message")
    socket = await opened(as_user(user), "/ws/state/chat/")
    client = await read_until(socket, up_to_date)
    await commit_and_ring(stream, {("message", "b"): message("two"), ("setting", "s"): [2]})
    await read_until(socket, lambda client: client.offset.endswith(".2"), client)
    await socket.disconnect()
    assert client.state == {("message", "a"): message("one"), ("message", "b"): message("two")}
    assert ("setting", "s") not in client.mentioned


async def test_a_withdrawn_permission_closes_the_socket(
    make_user: Any, as_user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a user, signed in by a real cookie, loses the stream, the socket is closed with 4403
    within the renewal time.
    """
    monkeypatch.setattr(renewal, "RENEW_SECONDS", 0.2)
    stream = await sync_to_async(make_stream)()
    browser = Browser()
    await sync_to_async(browser.force_login)(await sync_to_async(make_user)("app.view_message"))
    cookie = f"sessionid={browser.cookies['sessionid'].value}".encode()
    application: Any = AuthMiddlewareStack(as_user(None))
    socket = Socket(application, "/ws/state/chat/", [(b"cookie", cookie)])
    assert await socket.connect() is None
    await asyncio.sleep(0.5)
    await commit_and_ring(stream, {("message", "a"): message("still there")})
    assert (await read_until(socket, lambda client: client.offset.endswith(".1"))).state
    await User.user_permissions.through.objects.all().adelete()
    assert await socket.close_code() == 4403


async def test_a_removed_stream_closes_its_sockets(
    make_user: Any, as_user: Any, configure: Callable[..., None]
) -> None:
    """4404, for clients to stop asking."""
    configure(FEED_POLL_SECONDS=0.05)
    stream = await sync_to_async(make_stream)()
    socket = await opened(
        as_user(await sync_to_async(make_user)(superuser=True)), "/ws/state/chat/"
    )
    await socket.receive_text()
    await Stream.objects.filter(pk=stream.pk).adelete()
    assert await socket.close_code() == 4404


async def test_too_many_sockets(
    make_user: Any, as_user: Any, configure: Callable[..., None]
) -> None:
    """4429 beyond FEED_SUBSCRIBERS; existing ones stay."""
    configure(FEED_SUBSCRIBERS=1, FEED_POLL_SECONDS=0.05)
    stream = await sync_to_async(make_stream)()
    user = await sync_to_async(make_user)(superuser=True)
    first = await opened(as_user(user), "/ws/state/chat/")
    await first.receive_text()
    assert await (await opened(as_user(user), "/ws/state/chat/")).close_code() == 4429
    await sync_to_async(commit)(stream, {("message", "a"): message("x")})
    await read_until(first, lambda client: client.offset.endswith(".1"))
    await first.disconnect()


async def test_one_user_does_not_lock_the_others_out(
    make_user: Any, as_user: Any, configure: Callable[..., None]
) -> None:
    """4429 for a user who opens more and more; another user, and another anonymous address, get
    in.
    """
    configure(FEED_SUBSCRIBERS=6, POLICY="example_project.policy.EverybodyReads")
    await sync_to_async(make_stream)()
    greedy = await sync_to_async(make_user)()
    other = await sync_to_async(make_user)(name="other")
    sockets: list[Socket] = []

    async def enters(user: Any, address: str = "192.0.2.1") -> bool:
        socket = Socket(as_user(user), "/ws/state/chat/", client=(address, 1))
        assert await socket.connect() is None
        event = await socket.receive_output(5)
        if event["type"] == "websocket.close":
            assert event["code"] == 4429
            await socket.disconnect()
            return False
        sockets.append(socket)
        return True

    assert [await enters(greedy) for _ in range(6)] == [True] * 3 + [False] * 3
    assert await enters(other)
    assert [await enters(None) for _ in range(2)] == [True, False]
    assert await enters(None, "192.0.2.2")
    configure(FEED_SUBSCRIBERS=12, POLICY="example_project.policy.EverybodyReads")
    neighbours = [await enters(None, f"2001:db8::{number}") for number in range(1, 5)]
    assert neighbours == [True] * 3 + [False]
    assert await enters(None, "2001:db8:0:1::1")
    for socket in sockets:
        await socket.disconnect()


async def test_what_clients_send_is_ignored(make_user: Any, as_user: Any) -> None:
    """Text and bytes alike; the frames go on."""
    stream = await sync_to_async(make_stream)()
    socket = await opened(
        as_user(await sync_to_async(make_user)(superuser=True)), "/ws/state/chat/"
    )
    await socket.send_frame(text='{"delete": "everything"}')
    await socket.send_frame(bytes=b"\0")
    await commit_and_ring(stream, {("message", "a"): message("x")})
    client = await read_until(socket, lambda client: client.offset.endswith(".1"))
    await socket.disconnect()
    assert client.state == {("message", "a"): message("x")}


async def test_a_query_with_too_many_fields(make_user: Any, as_user: Any) -> None:
    """A client's requests are bounded."""
    await sync_to_async(make_stream)()
    user = await sync_to_async(make_user)(superuser=True)
    assert (
        await (
            await opened(as_user(user), "/ws/state/chat/?" + "&".join(["type=x"] * 300))
        ).close_code()
        == 1008
    )


async def test_a_failing_represent_costs_its_row_alone(
    make_user: Any, as_user: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The snapshot comes without it, and the operator finds the reason in the log."""
    from tests.app.state_mappings import MessageMapping

    def bad(self: Any, row: Any) -> Any:
        raise ZeroDivisionError

    stream = await sync_to_async(make_stream)()
    await commit_and_ring(stream, {("message", "a"): message("x")})
    monkeypatch.setattr(MessageMapping, "represent", bad)
    socket = await opened(
        as_user(await sync_to_async(make_user)(superuser=True)), "/ws/state/chat/"
    )
    items: list[Any] = []
    while not any(item["headers"].get("control") == "snapshot-end" for item in items):
        items += json.loads(await socket.receive_text())["items"]
    operations = {item["headers"].get("operation") for item in items}
    assert operations <= {None, "delete"}
    assert "ZeroDivisionError" in caplog.text
    await socket.disconnect()


async def test_disconnecting_leaves_nothing_behind(make_user: Any, as_user: Any) -> None:
    """Every task ends with its socket."""
    await sync_to_async(make_stream)()
    user = await sync_to_async(make_user)(superuser=True)
    before = asyncio.all_tasks()
    sockets = [await opened(as_user(user), "/ws/state/chat/") for _ in range(3)]
    for socket in sockets:
        await socket.receive_text()
        await socket.disconnect()
    await asyncio.sleep(0.05)
    assert asyncio.all_tasks() == before


async def test_a_server_that_breaks_off_leaves_nothing_behind(make_user: Any, as_user: Any) -> None:
    """One that cancels the application, without telling it that the client has left."""
    await sync_to_async(make_stream)()
    user = await sync_to_async(make_user)(superuser=True)
    before = asyncio.all_tasks()
    socket = await opened(as_user(user), "/ws/state/chat/")
    await socket.receive_text()
    assert places._taken
    socket.future.cancel()
    await asyncio.wait([socket.future])
    assert not places._taken
    await asyncio.sleep(0.05)
    assert asyncio.all_tasks() == before


async def test_sockets_need_no_channel_layer(
    make_user: Any, as_user: Any, settings: Any, configure: Callable[..., None]
) -> None:
    """With Redis down, sockets still open, and follow."""
    settings.CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "channels_redis.core.RedisChannelLayer",
            "CONFIG": {"hosts": ["redis://127.0.0.1:1"]},
        }
    }
    configure(FEED_POLL_SECONDS=0.05)
    stream = await sync_to_async(make_stream)()
    socket = await opened(
        as_user(await sync_to_async(make_user)(superuser=True)), "/ws/state/chat/"
    )
    await commit_and_ring(stream, {("message", "a"): message("x")})
    client = await read_until(socket, lambda client: client.offset.endswith(".1"))
    await socket.disconnect()
    assert client.state == {("message", "a"): message("x")}
