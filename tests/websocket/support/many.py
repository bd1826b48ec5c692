"""A client of many streams over one socket."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from tests.feed.support.client import Client

from .socket import Socket

__all__ = ["ManyStreams"]


class ManyStreams(Socket):
    """`ws/state/`: keeps a state for each subscription, and everything else it receives."""

    def __init__(self, application: Any, **details: Any) -> None:
        super().__init__(application, details.pop("path", "/ws/state/"), **details)
        self.clients: dict[str, Client] = {}
        self.closed: dict[str, int] = {}
        self.told: list[dict[str, Any]] = []
        """Every frame without items."""

    async def ask(self, **message: Any) -> None:
        """Sends a message."""
        await self.send_frame(text=json.dumps(message))

    async def read(self) -> dict[str, Any]:
        """Takes the next frame."""
        frame: dict[str, Any] = json.loads(await self.receive_text())
        if "items" in frame:
            name = frame.pop("id")
            self.clients.setdefault(name, Client()).fold_frame(frame)
        else:
            self.told.append(frame)
            if "closed" in frame:
                assert set(frame) == {"id", "closed", "reason"}
                self.closed[frame["id"]] = frame["closed"]
        return frame

    async def until(self, done: Callable[[ManyStreams], bool]) -> None:
        """Reads until `done` returns true."""
        while not done(self):
            await self.read()

    async def until_live(self, *names: str) -> None:
        """Reads until these subscriptions are up to date."""
        await self.until(
            lambda self: all(
                each in self.clients and self.clients[each].up_to_date for each in names
            )
        )
