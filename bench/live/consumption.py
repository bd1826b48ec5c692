"""A consumer in a separate process, which reports on request what it has used and done so far."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from django.db.models import Sum

from bench.databases import connection_settings, empty
from durable_state.models import Status, Stream

__all__ = ["NAME", "Consumer", "consumer", "running"]

NAME = "bench"
SECONDS = 60.0
"""The most seconds until a consumer has caught up; beyond that, it is broken."""
BEGIN_SECONDS = 180.0
"""The most seconds until all streams are live; beyond that, something is broken."""


class Consumer:
    """``durable_state run`` in the database of that alias."""

    def __init__(self, alias: str, process: subprocess.Popen[str]) -> None:
        self.process = process
        self._streams = Stream.objects.using(alias)

    def ask(self) -> dict[str, Any]:
        """The figures of the process: see ``bench.live.consumer``."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        told: dict[str, Any] = json.loads(self.process.stdout.readline())
        return told

    def wait_until_live(self) -> None:
        """Returns once all streams are live. Raises: RuntimeError, if they do not become live."""
        until = time.monotonic() + BEGIN_SECONDS
        while left := self._streams.exclude(status=Status.LIVE).count():
            if self.process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"{left} streams did not come to be live.")
            time.sleep(0.2)

    def wait_for(self, ordinal: int) -> None:
        """Returns once that many messages are applied. Raises: RuntimeError, if it breaks."""
        until = time.monotonic() + SECONDS
        while self.applied < ordinal:
            if self.process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"The consumer did not come to message {ordinal}.")
            time.sleep(0.05)

    @property
    def applied(self) -> int:
        """Messages of all streams so far."""
        return self._total("ordinal")

    @property
    def commits(self) -> int:
        """Of all streams, so far."""
        return self._total("revision")

    def _total(self, column: str) -> int:
        return self._streams.aggregate(total=Sum(column))["total"] or 0


@contextmanager
def consumer(
    alias: str,
    urls: Sequence[str],
    environment: Mapping[str, str],
    *,
    live: str = "sse",
    changed: Mapping[str, Any] | None = None,
) -> Iterator[Consumer]:
    """Consumes the streams at those URLs into emptied tables; the first one is called ``NAME``.

    ``environment`` and ``changed`` are for the process: see ``running``.
    """
    empty(alias)
    Stream.objects.using(alias).bulk_create(
        Stream(name=f"{NAME}-{number}" if number else NAME, url=url, live=live)
        for number, url in enumerate(urls)
    )
    with running(alias, environment, changed=changed) as following:
        yield following


@contextmanager
def running(
    alias: str,
    environment: Mapping[str, str],
    *,
    changed: Mapping[str, Any] | None = None,
) -> Iterator[Consumer]:
    """Another process that consumes the existing streams.

    ``environment`` is for the process; ``changed`` are database settings that differ from those of
    the alias.
    """
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
        try:
            process.communicate(timeout=SECONDS)
        finally:
            process.kill()
