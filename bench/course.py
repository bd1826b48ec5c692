"""Laps: each contestant in a process of its own, on tables that were just emptied, with what it left checked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from django.apps import apps
from django.core.management.color import no_style
from django.db import connections

from tests.servers.reference import INTEROP, missing

from .digest import Digest, digest_of
from .recording import Recording
from .tables import digest_of_tables

__all__ = [
    "WITHOUT_ROWS",
    "Lap",
    "WrongRows",
    "check",
    "course",
    "empty",
    "lap",
    "start",
    "streamdb_missing",
]

WITHOUT_ROWS = ("decode",)
"""Contestants that leave nothing."""


class Lap(msgspec.Struct):
    """One run of one contestant. ``wall`` and ``cpu`` in seconds (the client's CPU, not a database server's).

    ``batch`` is BATCH_ROWS, None where the product decides; ``stages`` seconds by stage, where they were asked for.
    """

    database: str
    contestant: str
    recording: str
    server: str
    events: int
    batch: int | None
    number: int
    wall: float
    cpu: float
    peak_mb: float
    stages: dict[str, float] = {}

    @property
    def rate(self) -> float:
        """Events a second."""
        return self.events / self.wall


class WrongRows(Exception):
    """A contestant did not leave the rows that the recording ends with."""


@contextmanager
def course(alias: str) -> Iterator[None]:
    """Makes the database of that alias for as long as it is needed."""
    creation, name = connections[alias].creation, connections[alias].settings_dict["NAME"]
    creation.create_test_db(verbosity=0, autoclobber=True, serialize=False)
    try:
        yield
    finally:
        creation.destroy_test_db(name, verbosity=0)


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
    """Runs one contestant on empty tables. Raises: CalledProcessError, where it fails; WrongRows."""
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
    """The process of one contestant; its first line of output is what was measured, as JSON."""
    if contestant == "streamdb":
        script = Path(__file__).with_name("streamdb.mjs")
        return subprocess.Popen(["node", str(script), url], cwd=INTEROP, stdout=subprocess.PIPE)
    settings = connections[alias].settings_dict
    kept = {
        name: settings[name]
        for name in ("ENGINE", "NAME", "HOST", "PORT", "USER", "PASSWORD", "OPTIONS")
    }
    environment = os.environ | {
        "BENCH_DATABASE": json.dumps(kept),
        "BENCH_DURABLE_STATE": json.dumps({} if batch is None else {"BATCH_ROWS": batch}),
    }
    if profiled:
        environment["BENCH_PROFILE"] = "1"
    command = [sys.executable, "-m", "bench.lap", contestant, url]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE)


def check(contestant: str, recording: Recording, found: Digest) -> None:
    """Compares with what the recording ends with. Raises: WrongRows."""
    if found != recording.expected:
        raise WrongRows(
            f"{contestant} left {found} of {recording.name}, expected {recording.expected}."
        )


def streamdb_missing() -> str:
    """Why StreamDB cannot run here; empty where it can."""
    if reason := missing():
        return reason
    if not (INTEROP / "node_modules" / "@tanstack" / "db").is_dir():
        return "@tanstack/db is not installed (npm ci in tests/interop)"
    return ""


def empty(alias: str) -> None:
    """Empties all tables, so that the next lap finds nothing."""
    connection = connections[alias]
    models = [
        model
        for label in ("bench", "durable_state")
        for model in apps.get_app_config(label).get_models()
    ]
    tables = [model._meta.db_table for model in models]
    connection.ops.execute_sql_flush(
        connection.ops.sql_flush(no_style(), tables, reset_sequences=True)
    )
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE")
