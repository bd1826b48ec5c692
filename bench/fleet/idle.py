"""One ``durable_state run`` that follows streams on which nothing happens."""

from __future__ import annotations

import signal
import time

import msgspec
from django.db import connections

from bench.live.consumption import consumer
from bench.live.wire import listen_before
from bench.processes import cpu, memory_mb, open_sockets

from .quiet_server import quiet_server

__all__ = ["Idle", "measure"]

SETTLE_SECONDS = 5.0
"""Seconds after all are live, before the measurement."""
STOP_SECONDS = 60.0


class Idle(msgspec.Struct):
    """What idle streams cost."""

    database: str
    streams: int
    live_after: float
    """Seconds from the process's start until all of them were live."""
    cpu: float
    """Percent of a core."""
    transactions: float | None
    """Per second; None if the database does not tell."""
    statements: float | None
    """Per second, counted on the wire; None likewise."""
    memory_mb: float
    """Resident memory of the whole process."""
    connections: int
    """Connections to the stream server and to the database."""
    stopped_after: float
    """Seconds from SIGTERM until the process had ended, all leases given back."""


def measure(alias: str, streams: int, seconds: float) -> Idle:
    """Consumes so many streams for so many seconds."""
    with quiet_server() as url, listen_before(alias) as (wire, changed):
        urls = [f"{url}/s{number}" for number in range(streams)]
        began = time.monotonic()
        with consumer(alias, urls, {}, live="long-poll", changed=changed) as following:
            following.wait_until_live()
            live_after = time.monotonic() - began
            time.sleep(SETTLE_SECONDS)

            pid = following.process.pid
            used, transactions = cpu(pid), _transactions(alias)
            statements = None if wire is None else len(wire.statements.texts)
            began = time.monotonic()
            time.sleep(seconds)
            lasted = time.monotonic() - began
            used = cpu(pid) - used
            if transactions is not None:
                transactions = (_transactions(alias) or 0) - transactions
            if wire is not None and statements is not None:
                statements = len(wire.statements.texts) - statements
            memory, sockets = memory_mb(pid), open_sockets(pid)

            began = time.monotonic()
            following.process.send_signal(signal.SIGTERM)
            following.process.wait(STOP_SECONDS)
            stopped_after = time.monotonic() - began
    return Idle(
        connections[alias].display_name,
        streams,
        live_after,
        100 * used / lasted,
        None if transactions is None else transactions / lasted,
        None if statements is None else statements / lasted,
        memory,
        sockets,
        stopped_after,
    )


def _transactions(alias: str) -> int | None:
    """How many transactions the server has ended so far in this database."""
    connection = connections[alias]
    if connection.vendor != "postgresql":
        return None
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT xact_commit + xact_rollback FROM pg_stat_database"
            " WHERE datname = current_database()"
        )
        return int(cursor.fetchone()[0])
