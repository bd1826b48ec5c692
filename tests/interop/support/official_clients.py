"""The official JavaScript clients in a Node process, controlled line by line."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator
from typing import Any

from tests.servers.reference import INTEROP, missing
from tests.servers.require import skip_or_fail

__all__ = ["OfficialClients", "official_clients"]

Entities = dict[tuple[str, str], Any]


class OfficialClients:
    """Readers by name, each an official client of one feed or stream."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def open(self, name: str, kind: str, url: str, live: Any, **details: Any) -> None:
        """Opens a reader ("db" or "materialized"), and waits until it is up-to-date."""
        self._ask(open=name, kind=kind, url=url, live=live, **details)

    def missing(self, name: str, txids: list[str], seconds: float = 5) -> list[str]:
        """The transactions that the reader waited for in vain."""
        found: list[str] = self._ask(**{"await": name}, txids=txids, ms=seconds * 1000)
        return found

    def entities(self, name: str) -> Entities:
        """The reader's state."""
        return {(each[0], each[1]): each[2] for each in self._ask(dump=name)}

    def close(self, name: str) -> None:
        """Closes the reader."""
        self._ask(close=name)

    def _ask(self, **command: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        assert "error" not in answer, answer["error"]
        return answer["answer"]


@contextlib.contextmanager
def official_clients() -> Iterator[OfficialClients]:
    """A Node process for them; skips where there is none."""
    if reason := missing():
        skip_or_fail(reason)
    process = subprocess.Popen(
        ["node", "stream_db.mjs"],
        cwd=INTEROP,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield OfficialClients(process)
    finally:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        process.wait(10)
        process.stdout.close()
