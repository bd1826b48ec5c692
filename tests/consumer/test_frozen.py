"""A worker that is frozen in the middle of a commit keeps no lock, and commits nothing later."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connections

from durable_state.consumer.run import sync
from durable_state.models import Lease, Stream
from tests.app.models import Setting
from tests.servers.process import StreamServer
from tests.wire import insert

from .support.consuming import start_worker, wait_until
from .support.remote import RemoteStream

pytestmark = pytest.mark.django_db(transaction=True)

ROWS = 1500
"""Of 5 KB each: more than the connection buffers, so that the server waits for the rest."""

SLOW = {
    "postgres": """
CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF (SELECT max(token) FROM durable_state_lease) = 1 THEN PERFORM pg_sleep(0.004); END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER slow BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION slow()
""",
    "mysql": """
CREATE TRIGGER slow BEFORE INSERT ON {table} FOR EACH ROW
    SET @slept = IF((SELECT max(token) FROM durable_state_lease) = 1, SLEEP(0.004), 0)
""",
}
"""Makes the first holder take its time for each row, and no later one."""

WRITING = {
    "postgres": "SELECT count(*) FROM pg_stat_activity WHERE state = 'active'"
    " AND application_name LIKE 'durable_state %%' AND query LIKE 'COPY%%'",
    "mysql": "SELECT count(*) FROM information_schema.processlist"
    " WHERE id <> CONNECTION_ID() AND info LIKE 'INSERT INTO%%setting%%'",
}
"""Whether a worker is in the middle of writing rows."""


def test_a_worker_that_is_frozen_while_it_writes(
    server_database: str,
    reference_server: StreamServer,
    add_stream: Callable[..., Stream],
    settings: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The next one continues within the lease and two seconds; when the first one wakes, its
    session has ended, and each message counts once.
    """
    caplog.set_level("WARNING", "durable_state.consumer")
    # A busy server may take longer than a second for the rows, which does not count as hanging.
    settings.DURABLE_STATE = {"LEASE_SECONDS": 5}
    using = server_database
    remote = RemoteStream(reference_server.stream())
    remote.append([insert("setting", f"{n}", {"text": "x" * 5000}) for n in range(ROWS)])
    stream = add_stream(remote.url, using=using)
    execute(using, SLOW[using].format(table=Setting._meta.db_table))

    frozen = start_worker(stream, LEASE_SECONDS=2)
    try:
        wait_until(lambda: is_writing(using), 30)
        assert Lease.objects.using(using).get().token == 1
        frozen.send_signal(signal.SIGSTOP)
        began = time.monotonic()
        sync(stream, until_up_to_date=True)
        assert time.monotonic() - began < 2 + 2 + SLACK
        stream.refresh_from_db()
        assert (stream.ordinal, stream.applied_count) == (ROWS, ROWS)
        assert "whose seat had expired" in caplog.text
    finally:
        frozen.send_signal(signal.SIGCONT)
        end(frozen)
        execute(using, DROP[using].format(table=Setting._meta.db_table))

    stream.refresh_from_db()
    assert (stream.ordinal, stream.applied_count) == (ROWS, ROWS)
    assert Setting.objects.using(using).count() == ROWS


SLACK = 4.0
"""Seconds in which the rows are read and written again, on a busy machine."""

DROP = {"postgres": "DROP FUNCTION slow() CASCADE", "mysql": "DROP TRIGGER slow"}


def is_writing(using: str) -> bool:
    """Whether a worker is in the middle of writing rows."""
    with connections[using].cursor() as cursor:
        cursor.execute(WRITING[using], [])
        return bool(cursor.fetchone()[0])


def execute(using: str, sql: str) -> None:
    """Runs the statements."""
    with connections[using].cursor() as cursor:
        cursor.execute(sql)


def end(worker: subprocess.Popen[str]) -> None:
    """Lets it come to its end."""
    try:
        worker.communicate(timeout=30)
    finally:
        worker.kill()
