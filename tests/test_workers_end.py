"""A real Celery worker gives its streams back within seconds of SIGTERM, and loses them at once
if it is killed.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from django.db.models import QuerySet

from durable_state.consumer import seating
from durable_state.models import Lease, Seat, Status, Stream
from tests import leases
from tests.consumer.support.consuming import seat, wait_until
from tests.consumer.support.project import address
from tests.consumer.support.serving import good, quiet
from tests.servers.misbehaving import MisbehavingServer

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "postgres"])


@contextmanager
def worker(
    broker: str, pool: str, lease_seconds: int = 10
) -> Iterator[tuple[subprocess.Popen[str], Callable[[], None]]]:
    """The worker, and a function that sends it one ``supervise``."""
    queue = f"tests-{uuid.uuid4().hex}"
    ours = {"LEASE_SECONDS": lease_seconds, "QUEUE": queue}
    module = "tests.consumer.support.celery_worker"
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            module,
            json.dumps(address("postgres")),
            json.dumps(ours),
            broker,
            pool,
        ],
        cwd=Path(__file__).parents[1],
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    app = Celery("sender", broker=broker, set_as_current=False)

    def supervise() -> None:
        app.send_task("durable_state.tasks.supervise", queue=queue)

    try:
        yield process, supervise
    finally:
        process.kill()
        process.communicate()
        app.close()


def make_quiet_streams(server: MisbehavingServer) -> QuerySet[Stream]:
    """Three streams on which nothing happens."""
    replies = good([])
    server.reply = lambda asked: quiet(asked, replies)
    streams = Stream.objects.using("postgres")
    for number in range(3):
        streams.create(name=f"s{number}", url=f"{server.url}/{number}", live="long-poll")
    return streams.all()


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_a_worker_ends_within_five_seconds_of_sigterm(
    redis_url: str, misbehaving_server: MisbehavingServer, pool: str
) -> None:
    """In the middle of a slice of ten minutes; its streams are free for anybody."""
    streams = make_quiet_streams(misbehaving_server)
    with worker(redis_url, pool) as (process, supervise):
        supervise()
        wait_until(lambda: streams.filter(status=Status.LIVE).count() == 3, 60)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        wait_until(lambda: not leases.holders("postgres"), 5)
        output, _ = process.communicate(timeout=30)
        assert process.returncode == 0, output
        assert time.monotonic() - began < 10, "Celery's own end, on a machine that is busy"
    assert not Seat.objects.using("postgres").filter(is_vacant=False).exists()


def test_what_a_killed_worker_had_is_taken_at_once(
    redis_url: str, misbehaving_server: MisbehavingServer, settings: Any
) -> None:
    """On the same machine, which sees that it is dead, nobody waits for the lease to expire."""
    settings.DURABLE_STATE = {"LEASE_SECONDS": 300}
    streams = make_quiet_streams(misbehaving_server)
    with worker(redis_url, "prefork", lease_seconds=300) as (process, supervise):
        supervise()
        wait_until(lambda: streams.filter(status=Status.LIVE).count() == 3, 60)
        process.kill()
        process.wait(10)
        wait_until(lambda: not seating.occupied("postgres"), 5)
        with seat("postgres"):
            wait_until(lambda: Lease.objects.using("postgres").filter(token=2).count() == 3, 5)
