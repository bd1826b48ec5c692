"""The database goes away under load: one outage for all streams of a worker, and one recovery."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from django.db import OperationalError, connections

from durable_state.consumer.run import consume_slice
from durable_state.models import Status, Stream
from tests.app.models import Message
from tests.servers.misbehaving import Asked, MisbehavingServer, Reply
from tests.wire import encode, insert

from .support.consuming import wait_until

Add = Callable[..., Stream]
STREAMS = 8


@contextmanager
def away(database: str) -> Iterator[None]:
    """Ends all sessions of the test's database, and accepts no new ones."""
    admin = connections[database].copy()
    name = admin.settings_dict["NAME"]
    is_mysql = admin.vendor == "mysql"
    admin.settings_dict = admin.settings_dict | {"NAME": None if is_mysql else "postgres"}
    admin.inc_thread_sharing()
    connections[database].close()
    over = threading.Event()

    def end_sessions() -> None:
        try:
            while not over.is_set():
                with admin.cursor() as cursor:
                    _end_sessions(cursor, name, is_mysql)
                over.wait(0.02)
        finally:
            admin.close()

    if not is_mysql:
        with admin.cursor() as cursor:
            cursor.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        admin.close()
    ending = threading.Thread(target=end_sessions)
    ending.start()
    try:
        yield
    finally:
        over.set()
        ending.join()
        if not is_mysql:
            with admin.cursor() as cursor:
                cursor.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
            admin.close()


def _end_sessions(cursor: Any, name: str, is_mysql: bool) -> None:
    if not is_mysql:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
        )
        return
    cursor.execute("SELECT id FROM information_schema.processlist WHERE db = %s", [name])
    for (number,) in cursor.fetchall():
        with suppress(OperationalError):  # it has ended already
            cursor.execute(f"KILL {int(number)}")


class Streams:
    """Streams that all grow one message at a time."""

    def __init__(self, server: MisbehavingServer) -> None:
        self.length = 1
        server.reply = self._reply

    def _reply(self, asked: Asked) -> Reply:
        at = int(asked.query["offset"].removeprefix("o").replace("-1", "0"))
        length, stream = self.length, asked.path.strip("/")
        found = [
            encode(insert("message", f"{stream}-{n}", {"text": "x", "likes": n}))
            for n in range(at, length)
        ]
        headers = {"Stream-Next-Offset": f"o{length}", "Stream-Up-To-Date": "true"}
        if "live" in asked.query and not found:
            return Reply(204, headers, wait=0.25)
        body = b"[%b]" % b",".join(found)
        return Reply(200, headers | {"Content-Type": "application/json"}, (body,))


def test_one_outage_is_one_recovery(
    server_database: str,
    misbehaving_server: MisbehavingServer,
    add_stream: Add,
    settings: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Every stream continues within a moment, none fails for long, and the log says it once."""
    settings.DURABLE_STATE = {"LEASE_SECONDS": 10, "SLICE_SECONDS": 25}
    using, server = server_database, Streams(misbehaving_server)
    streams = [
        add_stream(f"{misbehaving_server.url}/s{n}", using=using, live="long-poll")
        for n in range(STREAMS)
    ]
    mine = Stream.objects.using(using).filter(pk__in=[each.pk for each in streams])

    done = threading.Event()

    def consume() -> None:
        try:
            consume_slice(using, done.is_set)
        finally:
            connections.close_all()

    caplog.set_level(logging.INFO, "durable_state")
    worker = threading.Thread(target=consume)
    worker.start()
    try:
        wait_until(lambda: mine.filter(ordinal=1, status=Status.LIVE).count() == STREAMS)
        with away(using):
            server.length = 2
            time.sleep(2)
        began = time.monotonic()
        wait_until(lambda: mine.filter(ordinal=2).count() == STREAMS, 20)
        assert time.monotonic() - began < 5
        server.length = 3
        wait_until(lambda: mine.filter(ordinal=3, status=Status.LIVE).count() == STREAMS, 20)
        assert not mine.filter(failures__gt=1).exists()
    finally:
        done.set()
        worker.join(60)
    assert not worker.is_alive()
    if using == "postgres":  # between two of the calls, MySQL accepts new sessions
        told = [record.getMessage() for record in caplog.records]
        assert sum("answers again after" in each for each in told) == 1
        assert sum(f"The database {using} is away" in each for each in told) == 1
    assert Message.objects.using(using).count() == 3 * STREAMS
