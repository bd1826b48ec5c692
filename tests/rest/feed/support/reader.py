"""A reader of the feed who continues from offset to offset."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

from asgiref.sync import sync_to_async
from django.test import AsyncClient

__all__ = ["FEED", "Reader", "client_of"]

FEED = "/api/state/streams/chat/feed/"


async def client_of(user: Any) -> AsyncClient:
    """A client in which somebody is signed in."""
    client = AsyncClient()
    if user is not None:
        await sync_to_async(client.force_login)(user)
    return client


class Reader:
    """Folds what it reads as the reference client does."""

    def __init__(self, client: AsyncClient, **query: Any) -> None:
        self.client = client
        self.query = query
        self.offset = "-1"
        self.offsets: list[str] = []
        self.state: dict[tuple[str, str], Any] = {}
        self.items: list[dict[str, Any]] = []
        self.mentioned: set[tuple[str, str]] = set()

    async def get(self, **query: Any) -> Any:
        """One answer to the offset, folded."""
        asked = {"offset": self.offset, **self.query, **query}
        response: Any = await self.client.get(f"{FEED}?{urlencode(asked, doseq=True)}")
        if response.status_code == 200 and not response.streaming:
            self.take(json.loads(response.content))
        if "Stream-Next-Offset" in response:
            self.move(response["Stream-Next-Offset"])
        return response

    def move(self, offset: str) -> None:
        """Continues from the offset."""
        self.offset = offset
        self.offsets.append(offset)

    def take(self, items: list[dict[str, Any]]) -> None:
        """Folds the items."""
        for item in items:
            name = item["type"], item["key"]
            self.mentioned.add(name)
            assert "control" not in item["headers"]
            if item["headers"]["operation"] == "delete":
                assert "value" not in item
                self.state.pop(name, None)
            else:
                self.state[name] = item["value"]
            self.items.append(item)

    async def catch_up(self) -> list[str]:
        """Reads to the end; returns the transactions on the way."""
        before = len(self.items)
        for _ in range(1000):
            response = await self.get()
            assert response.status_code == 200, response.content
            if "Stream-Up-To-Date" in response:
                break
        told = [item["headers"].get("txid") for item in self.items[before:]]
        return list(dict.fromkeys(txid for txid in told if txid))
