"""Services that append to many streams while everything around them fails, and the fold of what
they appended.
"""

from __future__ import annotations

import json
import random
import threading
import time
from typing import Any

import httpx

from tests.wire import delete, message

__all__ = ["Row", "StreamWriters", "fold", "read_items"]

Row = tuple[str, int]
"""A message's text and likes."""
KEYS = 12
THREADS = 3


class StreamWriters:
    """Appends small changes to each stream, at a bounded pace, until told to end.

    ``acknowledged`` counts the messages that each stream's server has accepted. An append whose
    answer was lost may or may not have succeeded, so the truth is read from the server at the end.
    """

    def __init__(self, urls: dict[str, str], seed: int, per_second: float) -> None:
        self.urls = urls
        self.acknowledged = dict.fromkeys(urls, 0)
        self._pause = THREADS / per_second
        self._ends = threading.Event()
        self._threads = [
            threading.Thread(target=self._write, args=(random.Random(f"{seed}-{n}"), mine))
            for n, mine in enumerate(sorted(urls)[n::THREADS] for n in range(THREADS))
        ]
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        """Stops appending."""
        self._ends.set()
        for thread in self._threads:
            thread.join(30)

    def _write(self, chance: random.Random, names: list[str]) -> None:
        with httpx.Client(timeout=5) as client:
            while not self._ends.wait(self._pause):
                name = chance.choice(names)
                items = [_change(chance) for _ in range(chance.choice((1, 1, 1, 3, 20)))]
                try:
                    answer = client.post(self.urls[name], json=items)
                    answer.raise_for_status()
                except httpx.HTTPError:
                    time.sleep(0.2)
                    continue
                self.acknowledged[name] += len(items)


def _change(chance: random.Random) -> dict[str, Any]:
    key = f"k{chance.randrange(KEYS)}"
    operation = chance.choice(("insert", "update", "upsert", "delete"))
    if operation == "delete":
        return delete("message", key)
    return message(key, f"t{chance.randrange(10**6)}", operation, likes=chance.randrange(100))


def read_items(url: str) -> list[Any]:
    """All items of a stream, as its server returns them."""
    items: list[Any] = []
    offset = "-1"
    while True:
        answer = httpx.get(url, params={"offset": offset}, timeout=10)
        answer.raise_for_status()
        items += json.loads(answer.content)
        offset = answer.headers["stream-next-offset"]
        if "stream-up-to-date" in answer.headers:
            return items


def fold(items: list[Any]) -> dict[str, Row]:
    """The rows that result from the items, by key."""
    rows: dict[str, Row] = {}
    for item in items:
        if item["headers"]["operation"] == "delete":
            rows.pop(item["key"], None)
        else:
            rows[item["key"]] = (item["value"]["text"], item["value"]["likes"])
    return rows
