"""A consumer in a process of its own, which can be asked what it has used and done so far."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from bench.databases import connection_settings, empty
from durable_state.models import Stream

__all__ = ["NAME", "Consumer", "consumer"]

NAME = "bench"
SECONDS = 60.0
"""Within which a consumer has caught up, or it is broken."""


class Consumer:
    """``durable_state run`` in the database of that alias."""

    def __init__(self, alias: str, process: subprocess.Popen[str]) -> None:
        self._alias = alias
        self._process = process

    def ask(self) -> dict[str, Any]:
        """The figures of the process: see ``bench.live.consumer``."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        told: dict[str, Any] = json.loads(self._process.stdout.readline())
        return told

    def wait_for(self, ordinal: int) -> None:
        """Returns once that many messages are applied. Raises: RuntimeError, where it breaks."""
        until = time.monotonic() + SECONDS
        while self.stream().ordinal < ordinal:
            if self._process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"The consumer did not come to message {ordinal}.")
            time.sleep(0.05)

    def stream(self) -> Stream:
        """The stream as it stands in the database."""
        return Stream.objects.using(self._alias).get()


@contextmanager
def consumer(
    alias: str,
    url: str,
    environment: Mapping[str, str],
    *,
    changed: Mapping[str, Any] | None = None,
) -> Iterator[Consumer]:
    """Consumes the stream at that URL into emptied tables.

    ``environment`` is for the process; ``changed`` are settings of the database that are not those
    of the alias.
    """
    empty(alias)
    Stream.objects.using(alias).create(name=NAME, url=url)
    database = connection_settings(alias) | dict(changed or {})
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.live.consumer"],
        env=os.environ | {"BENCH_DATABASE": json.dumps(database), **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield Consumer(alias, process)
    finally:
        process.terminate()
        process.communicate(timeout=SECONDS)
