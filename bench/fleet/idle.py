"""One ``durable_state run`` that follows streams on which nothing happens."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
from django.db import connections

from bench.databases import connection_settings, empty
from durable_state.models import Status, Stream

from .quiet_server import quiet_server

__all__ = ["Idle", "measure"]

BEGIN_SECONDS = 180.0
"""Within which all streams are live, or something is broken."""
SETTLE_SECONDS = 5.0
"""Seconds after that before it is measured."""
STOP_SECONDS = 60.0


class Idle(msgspec.Struct):
    """What streams cost on which nothing happens."""

    database: str
    streams: int
    live_after: float
    """Seconds from the process's start until all of them were live."""
    cpu: float
    """Percent of a core."""
    transactions: float | None
    """Per second; None where the database does not tell."""
    memory_mb: float
    """Resident, of the whole process."""
    stopped_after: float
    """Seconds from SIGTERM until the process had ended, all leases given back."""


def measure(alias: str, streams: int, seconds: float) -> Idle:
    """Consumes so many for so long."""
    empty(alias)
    with quiet_server() as url:
        Stream.objects.using(alias).bulk_create(
            Stream(name=f"idle-{number}", url=f"{url}/s{number}", live="long-poll")
            for number in range(streams)
        )
        process = subprocess.Popen(
            [sys.executable, "-m", "bench.live.consumer"],
            env=os.environ | {"BENCH_DATABASE": json.dumps(connection_settings(alias))},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        try:
            began = time.monotonic()
            _wait_until_live(alias, streams)
            live_after = time.monotonic() - began
            time.sleep(SETTLE_SECONDS)

            cpu, transactions, began = _cpu(process.pid), _transactions(alias), time.monotonic()
            time.sleep(seconds)
            lasted = time.monotonic() - began
            cpu, memory = _cpu(process.pid) - cpu, _memory_mb(process.pid)
            done = _transactions(alias)

            began = time.monotonic()
            process.send_signal(signal.SIGTERM)
            process.wait(STOP_SECONDS)
            stopped_after = time.monotonic() - began
        finally:
            process.kill()
            process.communicate()
    rate = None if done is None or transactions is None else (done - transactions) / lasted
    name = connections[alias].display_name
    percent = 100 * cpu / lasted
    return Idle(name, streams, live_after, percent, rate, memory, stopped_after)


def _wait_until_live(alias: str, streams: int) -> None:
    """Raises: RuntimeError, where they do not come to be."""
    until = time.monotonic() + BEGIN_SECONDS
    while Stream.objects.using(alias).filter(status=Status.LIVE).count() < streams:
        if time.monotonic() > until:
            raise RuntimeError(f"{streams} streams were not live after {BEGIN_SECONDS:g} s.")
        time.sleep(0.2)


def _cpu(pid: int) -> float:
    """Seconds of CPU that the process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _memory_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    resident = next(line for line in lines if line.startswith("VmRSS:"))
    return int(resident.split()[1]) / 1024


def _transactions(alias: str) -> int | None:
    """How many the server has ended so far, in this database or in all."""
    questions = {
        "postgresql": "SELECT xact_commit + xact_rollback FROM pg_stat_database"
        " WHERE datname = current_database()",
    }
    connection = connections[alias]
    if connection.vendor not in questions:
        return None
    with connection.cursor() as cursor:
        cursor.execute(questions[connection.vendor])
        return int(cursor.fetchone()[0])
