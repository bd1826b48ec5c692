"""Laps: each contestant runs in its own process on empty tables, and its rows are checked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
from django.db import connections

from bench.databases import connection_settings, empty
from bench.digest import Digest, digest_of
from bench.recording import Recording
from bench.tables import digest_of_tables
from tests.servers.reference import INTEROP, missing

__all__ = [
    "WITHOUT_ROWS",
    "Lap",
    "WrongRows",
    "check",
    "lap",
    "start",
    "streamdb_missing",
]

WITHOUT_ROWS = ("decode",)
"""Contestants that write no rows."""


class Lap(msgspec.Struct):
    """One run of one contestant."""

    database: str
    contestant: str
    recording: str
    """Its kind."""
    server: str
    """The server that it was read from: "static" or "reference"."""
    events: int
    batch: int | None
    """BATCH_ROWS; None for the default."""
    number: int
    """The round's number."""
    wall: float
    """Wall-clock seconds."""
    cpu: float
    """CPU seconds of the client, without those of a database server."""
    peak_mb: float
    modules: dict[str, float] = {}
    """Seconds by module, if it was profiled."""

    @property
    def rate(self) -> float:
        """Events per second."""
        return self.events / self.wall

    @property
    def microseconds(self) -> float:
        """Wall-clock microseconds per event."""
        return 1e6 * self.wall / self.events

    def told(self) -> str:
        """One line for the terminal."""
        batch = f", BATCH_ROWS {self.batch:,}" if self.batch else ""
        return (
            f"{self.database}, {self.recording} from the {self.server} server, {self.contestant}"
            f"{batch}: {self.rate:,.0f} events/s, {self.cpu:.2f} CPU seconds"
        )


class WrongRows(Exception):
    """A contestant's rows are not those that the recording ends with."""


def lap(
    alias: str,
    contestant: str,
    recording: Recording,
    url: str,
    *,
    server: str = "static",
    batch: int | None = None,
    number: int = 0,
    profiled: bool = False,
) -> Lap:
    """Runs one contestant on empty tables. Raises: CalledProcessError, WrongRows."""
    empty(alias)
    process = start(alias, contestant, url, batch=batch, profiled=profiled)
    output, _ = process.communicate()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, process.args)
    first, *rows = output.splitlines()
    if contestant == "streamdb":
        check(contestant, recording, digest_of(json.loads(row) for row in rows))
    elif contestant not in WITHOUT_ROWS:
        check(contestant, recording, digest_of_tables(alias))
    measured: dict[str, Any] = json.loads(first)
    kind = recording.name.partition("-")[0]
    return Lap(
        connections[alias].display_name,
        contestant,
        kind,
        server,
        recording.events,
        batch,
        number,
        **measured,
    )


def start(
    alias: str, contestant: str, url: str, *, batch: int | None = None, profiled: bool = False
) -> subprocess.Popen[bytes]:
    """Starts one contestant; the first line of its output is the measurement, as JSON."""
    if contestant == "streamdb":
        script = Path(__file__).with_name("streamdb.mjs")
        return subprocess.Popen(["node", str(script), url], cwd=INTEROP, stdout=subprocess.PIPE)
    environment = os.environ | {
        "BENCH_DATABASE": json.dumps(connection_settings(alias)),
        "BENCH_DURABLE_STATE": json.dumps({} if batch is None else {"BATCH_ROWS": batch}),
    }
    if profiled:
        environment["BENCH_PROFILE"] = "1"
    command = [sys.executable, "-m", "bench.bulk.lap", contestant, url]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE)


def check(contestant: str, recording: Recording, found: Digest) -> None:
    """Compares the rows with those that the recording ends with. Raises: WrongRows."""
    if found != recording.expected:
        raise WrongRows(
            f"{contestant} left {found} of {recording.name}, expected {recording.expected}."
        )


def streamdb_missing() -> str:
    """Why StreamDB cannot run here; empty if it can."""
    if reason := missing():
        return reason
    if not (INTEROP / "node_modules" / "@tanstack" / "db").is_dir():
        return "@tanstack/db is not installed (npm ci in tests/interop)"
    return ""
