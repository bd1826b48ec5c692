"""One task looks after all sockets, so nothing that concerns one of them may end it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from channels.auth import AuthMiddlewareStack
from django.contrib.auth.models import User
from django.test import Client as Browser

from durable_state.websocket import heart
from tests.app.state_mappings import SettingMapping
from tests.feed.support.commits import commit_and_ring, make_stream

from .support.socket import Socket

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def beats_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heart, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(heart, "HEARTBEAT_SECONDS", 0.1)


async def test_a_value_that_no_utf8_holds_takes_no_heartbeat(
    make_user: Any, as_user: Any, beats_often: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lone surrogate in the last frame: its socket, and those of others, still work."""
    monkeypatch.setattr(SettingMapping, "represent", lambda self, row: {"text": "\ud800"})
    stream = await sync_to_async(make_stream)()
    await commit_and_ring(stream, {("setting", "a"): 1})
    application = as_user(await sync_to_async(make_user)(superuser=True))
    sockets = [Socket(application, "/ws/state/chat/") for _ in range(2)]
    for socket in sockets:
        assert await socket.connect() is None
        while not json.loads(await socket.receive_text())["upToDate"]:
            pass
    await commit_and_ring(stream, {("setting", "a"): 2})
    for socket in sockets:
        changed = json.loads(await socket.receive_text())
        while not changed["items"]:
            changed = json.loads(await socket.receive_text())
        assert changed["items"][0]["value"] == {"text": "\ud800"}
        for _ in range(3):
            beat = json.loads(await socket.receive_text())
            assert beat == {"items": [], "offset": changed["offset"], "upToDate": True}
    for socket in sockets:
        await socket.disconnect()


asked: list[str] = []


async def never_answers(scope: Any) -> Any:
    """Takes the first handshake of a socket with a token, and then hangs."""
    if len(scope["subprotocols"]) < 2:
        return None
    asked.append(scope["subprotocols"][1])
    if len(asked) > 1:
        await asyncio.sleep(60)
    return await User.objects.aget()


async def test_tokens_that_take_long_keep_no_session_open(
    make_user: Any, as_user: Any, settings: Any, beats_often: None
) -> None:
    """Users who sign out are disconnected at once, whatever the project's authentication does."""
    asked.clear()
    settings.DURABLE_STATE = {"WEBSOCKET_AUTHENTICATION": f"{__name__}.never_answers"}
    await sync_to_async(make_stream)()
    user = await sync_to_async(make_user)(superuser=True)
    browser = Browser()
    await sync_to_async(browser.force_login)(user)
    cookie = f"sessionid={browser.cookies['sessionid'].value}".encode()
    application: Any = AuthMiddlewareStack(as_user(None))
    signed_in = Socket(application, "/ws/state/chat/", [(b"cookie", cookie)])
    by_token = Socket(application, "/ws/state/chat/", subprotocols=["durable-state", "t"])
    for socket in (by_token, signed_in):
        assert await socket.connect() is None
        await socket.receive_text()
    await sync_to_async(browser.logout)()
    assert await signed_in.close_code() == 4401
    assert len(asked) == 2
    await by_token.disconnect()
