"""A websocket into an ASGI application in this process.

Like `channels.testing.WebsocketCommunicator`, which cannot be imported without installing Daphne
and Twisted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

from asgiref.testing import ApplicationCommunicator

__all__ = ["Socket"]


class Socket(ApplicationCommunicator):
    """One connection to `path`, with the handshake's headers."""

    subprotocol: str | None = None
    """The subprotocol that the server chose."""

    def __init__(
        self,
        application: Any,
        path: str,
        headers: list[tuple[bytes, bytes]] | None = None,
        client: tuple[str, int] | None = None,
        subprotocols: Sequence[str] = (),
    ) -> None:
        parts = urlsplit(path)
        super().__init__(
            application,
            {
                "type": "websocket",
                "path": unquote(parts.path),
                "query_string": parts.query.encode(),
                "headers": headers or [],
                "subprotocols": list(subprotocols),
                "client": client,
            },
        )

    async def connect(self) -> int | None:
        """Opens it; returns the close code if the handshake is refused, else None."""
        await self.send_input({"type": "websocket.connect"})
        answer = await self.receive_output(5)
        self.subprotocol = answer.get("subprotocol")
        return int(answer["code"]) if answer["type"] == "websocket.close" else None

    async def receive_text(self) -> str:
        """The next frame."""
        event = await self.receive_output(5)
        assert event["type"] == "websocket.send", event
        return str(event["text"])

    async def send_frame(self, **frame: str | bytes) -> None:
        """Sends `text=` or `bytes=`."""
        await self.send_input({"type": "websocket.receive", **frame})

    async def close_code(self) -> int:
        """The code with which it is closed, whatever frames come before."""
        while (event := await self.receive_output(5))["type"] != "websocket.close":
            pass
        await self.disconnect()
        return int(event["code"])

    async def disconnect(self) -> None:
        """Leaves, and waits until the application has noticed."""
        await self.send_input({"type": "websocket.disconnect", "code": 1000})
        await self.wait(5)
