"""Laps: each contestant in a process of its own, on tables that were just emptied."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
from django.apps import apps
from django.core.management.color import no_style
from django.db import connections

__all__ = ["Lap", "course", "lap"]


class Lap(msgspec.Struct):
    """One run of one contestant. ``wall`` and ``cpu`` in seconds (the client's CPU, not a database server's)."""

    database: str
    contestant: str
    recording: str
    events: int
    batch: int
    wall: float
    cpu: float
    peak_mb: float
    rows: str

    @property
    def rate(self) -> float:
        """Events a second."""
        return self.events / self.wall


@contextmanager
def course(alias: str) -> Iterator[None]:
    """Makes the database of that alias for as long as it is needed."""
    creation, name = connections[alias].creation, connections[alias].settings_dict["NAME"]
    creation.create_test_db(verbosity=0, autoclobber=True, serialize=False)
    try:
        yield
    finally:
        creation.destroy_test_db(name, verbosity=0)


def lap(alias: str, contestant: str, recording: str, url: str, events: int, batch: int) -> Lap:
    """Runs one contestant on empty tables. Raises: CalledProcessError, where it fails."""
    _empty(alias)
    settings = connections[alias].settings_dict
    kept = {name: settings[name] for name in ("ENGINE", "NAME", "HOST", "PORT", "USER", "PASSWORD", "OPTIONS")}
    environment = os.environ | {
        "BENCH_DATABASE": json.dumps(kept),
        "BENCH_DURABLE_STATE": json.dumps({"BATCH_ROWS": batch}),
    }
    command = [sys.executable, "-m", "bench.lap", contestant, f"{url}/{recording}", str(batch)]
    ended = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE)
    measured: dict[str, Any] = json.loads(ended.stdout)
    return Lap(connections[alias].display_name, contestant, recording, events, batch, **measured)


def _empty(alias: str) -> None:
    connection = connections[alias]
    models = [model for label in ("bench", "durable_state") for model in apps.get_app_config(label).get_models()]
    tables = [model._meta.db_table for model in models]
    connection.ops.execute_sql_flush(connection.ops.sql_flush(no_style(), tables, reset_sequences=True))
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE")
