"""Celery workers as projects configure them: each stream is consumed, and given back in time."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from celery import Celery

from tests.consumer.support.consuming import wait_until
from tests.private import NotFound
from tests.servers import reference
from tests.servers.require import skip_or_fail

from .support.fleet import BEAT, WORKER, Fleet, Worker, fleet

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(180)]

STREAMS = 3


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Servers, and three streams, without any worker."""
    if reason := reference.missing():
        skip_or_fail(reason)
    try:
        with fleet(tmp_path_factory.mktemp("celery")) as made:
            urls = {f"s{each}": f"{made.streams.url}/v1/stream/s{each}" for each in range(STREAMS)}
            for url in urls.values():
                httpx.put(url, headers={"content-type": "application/json"}).raise_for_status()
            adding = "from durable_state.models import Stream\n"
            adding += (
                f"for name, url in {urls!r}.items(): Stream.objects.create(name=name, url=url)"
            )
            made.manage("shell", "--command", adding)
            yield made
    except NotFound as error:
        skip_or_fail(str(error))


@contextmanager
def working(servers: Fleet, **settings: Any) -> Iterator[Worker]:
    """A worker with these project settings, and beat."""
    servers.environment["FLEET_SETTINGS"] = json.dumps(settings)
    schedule = f"--schedule={servers.folder / 'beat'}"
    beat = Worker("beat", (*BEAT, schedule), servers)
    worker = Worker("worker", WORKER, servers)
    try:
        yield worker
    except BaseException:
        print(worker.last_words())
        raise
    finally:
        beat.kill()
        worker.kill()


def append(servers: Fleet, key: str) -> None:
    """Appends one message to each stream."""
    message = {"type": "message", "key": key, "value": {"text": "hi"}}
    message["headers"] = {"operation": "upsert"}
    for each in range(STREAMS):
        url = f"{servers.streams.url}/v1/stream/s{each}"
        httpx.post(url, json=[message]).raise_for_status()


class Look:
    """The test's own queries."""

    def __init__(self, url: str) -> None:
        self._database = psycopg.connect(url, autocommit=True)

    def __enter__(self) -> Look:
        return self

    def __exit__(self, *raised: object) -> None:
        self._database.close()

    def value(self, sql: str) -> Any:
        """The single value that a query returns."""
        (value,) = self._database.execute(sql).fetchone() or (None,)
        return value

    def are_live(self, ordinal: int) -> bool:
        """Whether all streams are live, after so many messages each."""
        return bool(
            self.value(
                f"select count(*) = {STREAMS} from durable_state_stream"
                f" where status = 'live' and ordinal = {ordinal}"
            )
        )

    @property
    def held(self) -> int:
        """How many leases are held."""
        sql = "select count(*) from durable_state_lease where seat_id is not null"
        return int(self.value(sql))


def test_spawned_children_see_that_the_worker_is_to_end(servers: Fleet) -> None:
    """As on macOS, where children inherit nothing from the worker: leases are given back at
    once.
    """
    with (
        Look(servers.postgres.url) as look,
        working(
            servers,
            CELERY_WORKER_POOL_START_METHOD="spawn",
            DURABLE_STATE={"LEASE_SECONDS": 30, "SLICE_SECONDS": 600, "SEATS": 1},
        ) as worker,
    ):
        wait_until(lambda: look.are_live(0), 60)
        began = time.monotonic()
        worker.process.terminate()
        wait_until(lambda: look.held == 0, 10)
        assert time.monotonic() - began < 5
        worker.process.wait(20)


def test_children_that_run_one_task_each(servers: Fleet) -> None:
    """With late acknowledgement, time limits below the slice, duplicates, and a child that is
    killed in the middle: every message is counted once.
    """
    app = Celery("sender", broker=servers.broker.url, set_as_current=False)
    for _ in range(20):
        app.send_task("durable_state.tasks.supervise")
        app.send_task("durable_state.tasks.consume", soft_time_limit=300, time_limit=600)
    app.close()

    late = {"acks_late": True, "reject_on_worker_lost": True}
    with (
        Look(servers.postgres.url) as look,
        working(
            servers,
            CELERY_TASK_ANNOTATIONS={"durable_state.tasks.consume": late},
            CELERY_WORKER_MAX_TASKS_PER_CHILD=1,
            CELERY_TASK_SOFT_TIME_LIMIT=2,
            CELERY_TASK_TIME_LIMIT=3,
            DURABLE_STATE={"LEASE_SECONDS": 3, "SLICE_SECONDS": 4, "SEATS": 1},
        ) as worker,
    ):
        wait_until(lambda: look.are_live(0), 60)
        first = look.value("select min(token) from durable_state_lease")
        for number in range(1, 5):
            append(servers, f"k{number}")
            wait_until(lambda number=number: look.are_live(number), 30)  # type: ignore[misc]
            if number == 2:
                name = look.value("select name from durable_state_seat where not is_vacant")
                os.kill(int(name.split(":")[1]), signal.SIGKILL)
        wait_until(
            lambda: look.value("select min(token) from durable_state_lease") >= first + 3, 40
        )
        append(servers, "k5")
        wait_until(lambda: look.are_live(5), 30)
        assert look.value("select sum(applied_count) from durable_state_stream") == 5 * STREAMS
        assert look.value("select count(*) from app_message") == 5 * STREAMS
        log = Path(worker.log).read_text(errors="replace")
    assert "TimeLimitExceeded" not in log
