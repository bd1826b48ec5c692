"""A websocket client that folds its frames, following the few rules of the protocol."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

__all__ = ["State", "WebsocketSubscriber"]

State = dict[tuple[str, str], Any]


class WebsocketSubscriber:
    """Reads in its own thread until it is closed. ``state`` holds the rows that it knows."""

    def __init__(self, url: str) -> None:
        self.state: State = {}
        self.up_to_date = False
        self.frames = 0
        self.connection = connect(url, max_size=None)
        self.thread = threading.Thread(target=self._read, name="websocket subscriber", daemon=True)
        self.thread.start()

    def _read(self) -> None:
        try:
            for text in self.connection:
                frame = json.loads(text)
                state = dict(self.state)
                for item in frame["items"]:
                    self._apply(state, item)
                self.state, self.up_to_date = state, frame["upToDate"]
                self.frames += 1
        except ConnectionClosed:
            pass

    @staticmethod
    def _apply(state: State, item: dict[str, Any]) -> None:
        headers = item["headers"]
        if headers.get("control") in ("snapshot-start", "reset"):
            state.clear()
        elif headers.get("operation") == "delete":
            state.pop((item["type"], item["key"]), None)
        elif "operation" in headers:
            state[item["type"], item["key"]] = item["value"]

    def wait_until(self, condition: Callable[[State], bool], seconds: float) -> None:
        """Returns once the rows are as wanted; otherwise fails."""
        deadline = time.monotonic() + seconds
        while not condition(self.state):
            assert self.thread.is_alive(), "the websocket was closed"
            assert time.monotonic() < deadline, (
                f"the websocket did not show it in {seconds} s; {len(self.state)} rows,"
                f" {self.frames} frames"
            )
            time.sleep(0.05)

    def close(self) -> None:
        self.connection.close()
        self.thread.join(10)
