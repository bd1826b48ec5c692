"""The websocket routes, and what answers elsewhere."""

from __future__ import annotations

from typing import Any

import pytest
from channels.routing import URLRouter

from durable_state.routing import websocket_patterns

from .support.socket import Socket

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("name", ["a b", "a/b", "%00", "ä", "x" * 101, "chat/extra", "..%2f"])
@pytest.mark.parametrize("slash", ["", "/"])
async def test_a_name_that_no_stream_can_have(
    name: str, slash: str, make_user: Any, as_user: Any
) -> None:
    """For signed-in users it does not exist, instead of a traceback."""
    from asgiref.sync import sync_to_async

    user = await sync_to_async(make_user)(superuser=True)
    for who, code in ((user, 4404), (None, 4401)):
        socket = Socket(as_user(who), f"/ws/state/{name}{slash}")
        assert await socket.connect() is None
        assert await socket.close_code() == code


@pytest.mark.parametrize(
    ("script_name", "path"),
    [
        (None, "/ws/state/chat/"),
        ("/", "/ws/state/chat"),
        ("/sub.path/", "/sub.path/ws/state/chat/"),
        ("/sub.path", "/ws/state/chat/"),
        ("/sub.path", "/sub.path/ws/state/"),
    ],
)
async def test_below_a_path(script_name: str | None, path: str, as_user: Any) -> None:
    """FORCE_SCRIPT_NAME may be in the path or removed from it."""
    application = as_user(None)
    application.routes = URLRouter(websocket_patterns(script_name))  # type: ignore[arg-type]
    socket = Socket(application, path)
    assert await socket.connect() is None
    await socket.disconnect()
    with pytest.raises(ValueError, match="No route"):
        await application({"type": "websocket", "path": "/subXpath/ws/state/chat/"}, None, None)
