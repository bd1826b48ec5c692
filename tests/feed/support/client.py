"""A client that folds frames as the documentation tells clients to."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

__all__ = ["Client"]


class Client:
    """Holds the state that frames result in. ``offset`` is the last frame's token, ``frames``
    are all it has seen.
    """

    def __init__(self) -> None:
        self.state: dict[tuple[str, str], Any] = {}
        self.offset = ""
        self.up_to_date = False
        self.frames: list[dict[str, Any]] = []
        self.snapshots = 0
        self.mentioned: set[tuple[str, str]] = set()

    def fold(self, text: str) -> None:
        """Applies the text of one frame."""
        self.fold_frame(json.loads(text))

    def fold_frame(self, frame: dict[str, Any]) -> None:
        """Applies one frame, and asserts that it is well-formed."""
        assert set(frame) == {"items", "offset", "upToDate"}
        for item in frame["items"]:
            headers = item["headers"]
            if "control" in headers:
                if headers["control"] == "snapshot-start":
                    self.state.clear()
                    self.snapshots += 1
                else:
                    assert headers["control"] == "snapshot-end"
                continue
            name = item["type"], item["key"]
            self.mentioned.add(name)
            if headers["operation"] == "delete":
                assert "value" not in item
                self.state.pop(name, None)
            else:
                assert headers["operation"] in ("insert", "update")
                self.state[name] = item["value"]
        self.frames.append(frame)
        self.offset, self.up_to_date = frame["offset"], frame["upToDate"]

    async def read_until(self, frames: AsyncIterator[str], done: Callable[[Client], bool]) -> None:
        """Folds frames until `done` returns true."""
        while not done(self):
            try:
                self.fold(await anext(frames))
            except StopAsyncIteration:
                pytest.fail("The frames ended.")
