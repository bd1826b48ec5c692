"""A fleet of workers, and everything that may happen to it: nothing is lost, doubled or stalled.

``DURABLE_STATE_FLEET_SECONDS`` asks for more than the usual 45 seconds of trouble,
``DURABLE_STATE_FLEET_SEED`` for another sequence.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import psycopg
import pytest

from durable_state.models import DISPOSITIONS
from tests.consumer.support.consuming import wait_until
from tests.private import NotFound
from tests.servers import reference
from tests.servers.require import skip_or_fail

from .support.fleet import LEASE_SECONDS, SEATS, Fleet, Worker, fleet
from .support.stillness import Stillness
from .support.writers import StreamWriters, fold, read_items

SECONDS = float(os.environ.get("DURABLE_STATE_FLEET_SECONDS", "45"))
SEED = int(os.environ.get("DURABLE_STATE_FLEET_SEED", "7"))
STREAMS = 50
QUIET_SECONDS = 2.5
"""Seconds between two troubles, so that each one meets a working fleet."""
STILL_SECONDS = LEASE_SECONDS + 2 + 6
"""The lease, the promised two seconds, and six more for two cores: workers take seconds to start
there, and a dozen of them start at once.
"""

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(180 + 3 * SECONDS)]


def kill(fleet: Fleet, worker: Worker, stillness: Stillness) -> None:
    """A worker is gone from one instruction to the next."""
    with worker.in_hand:
        worker.kill()
        time.sleep(1)
        worker.start()


def freeze(fleet: Fleet, worker: Worker, stillness: Stillness) -> None:
    """A worker sleeps past the end of its leases, and wakes up."""
    worker.signal_all(signal.SIGSTOP)
    time.sleep(LEASE_SECONDS + 2)
    worker.signal_all(signal.SIGCONT)


def ask_to_end(fleet: Fleet, worker: Worker, stillness: Stillness) -> None:
    """A deployment."""
    with worker.in_hand:
        worker.ask_to_end(15)
        worker.start()


def restart_database(fleet: Fleet, worker: Worker, stillness: Stillness) -> None:
    """The database crashes, and comes back."""
    with stillness.outage():
        fleet.postgres.stop(signal.SIGQUIT)
        time.sleep(1)
        fleet.postgres.start()


def restart_stream_server(fleet: Fleet, worker: Worker, stillness: Stillness) -> None:
    """The stream server crashes, and comes back with its files."""
    with stillness.outage():
        fleet.streams.kill()
        time.sleep(1)
        fleet.streams.start()


def restart_broker(fleet: Fleet, worker: Worker, stillness: Stillness) -> None:
    """The broker, which is also the channel layer, is down, and forgets all tasks."""
    fleet.broker.stop(signal.SIGKILL)
    time.sleep(3)
    fleet.broker.start()


TROUBLES: list[Callable[[Fleet, Worker, Stillness], None]] = [
    kill,
    kill,
    freeze,
    ask_to_end,
    restart_database,
    restart_stream_server,
    restart_broker,
]


@pytest.fixture
def running_fleet(tmp_path: Path) -> object:
    """A fleet with its own servers."""
    if reason := reference.missing():
        skip_or_fail(reason)
    try:
        with fleet(tmp_path) as made:
            yield made
    except NotFound as error:
        skip_or_fail(str(error))


def test_nothing_is_lost_doubled_or_stalled(running_fleet: Fleet) -> None:
    """While writers append to all streams, workers are killed, frozen and asked to end, and servers
    are taken down.

    In the end every table equals the fold, each message is counted once, and no stream stood still
    for longer than a lease and the time to notice.
    """
    made, chance = running_fleet, random.Random(SEED)
    urls = {f"s{number}": f"{made.streams.url}/v1/stream/s{number}" for number in range(STREAMS)}
    for url in urls.values():
        httpx.put(url, headers={"content-type": "application/json"}).raise_for_status()
    made.manage("shell", "--command", _adding(urls))
    made.start_workers()

    writers = StreamWriters(urls, SEED, per_second=30)
    stillness = Stillness(made.postgres.url, writers.acknowledged)
    try:
        with psycopg.connect(made.postgres.url, autocommit=True) as database:
            wait_until(lambda: all(_ordinals(database).values()), 60)
            wait_until(lambda: _is_even(_shares(database)), 30)
        stillness.take()  # the time of the first start does not count

        told = _make_trouble(made, stillness, chance)
        with psycopg.connect(made.postgres.url, autocommit=True) as database:
            wait_until(lambda: _is_even(_shares(database)), 30)
        writers.end()

        with psycopg.connect(made.postgres.url, autocommit=True) as database:
            items = {name: read_items(url) for name, url in urls.items()}
            counts = {name: len(each) for name, each in items.items()}
            wait_until(lambda: _ordinals(database) == counts, 30)
            for name in urls:
                assert _rows(database, name) == fold(items[name]), name
                assert _counted(database, name) == counts[name], name
    except BaseException:
        for worker in made.workers:
            print(f"== {worker.name}\n{worker.last_words()}")
        raise
    finally:
        writers.end()
        stillness.end()

    print(f"{sum(counts.values())} messages; {told}")
    assert max(told.values()) <= STILL_SECONDS, told


def _make_trouble(made: Fleet, stillness: Stillness, chance: random.Random) -> dict[str, float]:
    """Each kind of trouble once, then at random for as long as asked.

    Returns, by what was done to whom, for how long a stream stood still at most until the next
    trouble.
    """
    told: dict[str, float] = {}
    coming = chance.sample(TROUBLES, len(TROUBLES))
    until = time.monotonic() + SECONDS
    while coming or time.monotonic() < until:
        trouble = coming.pop() if coming else chance.choice(TROUBLES)
        worker = chance.choice(made.workers)
        trouble(made, worker, stillness)
        time.sleep(QUIET_SECONDS)
        told[f"{len(told) + 1} {trouble.__name__} {worker.name}"] = round(stillness.take(), 1)
    return told


def _adding(urls: dict[str, str]) -> str:
    return (
        "from durable_state.models import Stream\n"
        f"for name, url in {urls!r}.items(): Stream.objects.create(name=name, url=url)"
    )


def _ordinals(database: psycopg.Connection[tuple[object, ...]]) -> dict[str, int]:
    found = database.execute("select name, ordinal from durable_state_stream").fetchall()
    return {str(name): int(str(ordinal)) for name, ordinal in found}


def _shares(database: psycopg.Connection[tuple[object, ...]]) -> list[int]:
    """How many streams each seat has."""
    sql = "select count(*) from durable_state_lease where seat_id is not null group by seat_id"
    return [int(str(held)) for (held,) in database.execute(sql).fetchall()]


def _is_even(shares: list[int]) -> bool:
    """Whether all seats share all streams, evenly within 20 %."""
    fair = STREAMS / SEATS
    return (
        len(shares) == SEATS
        and sum(shares) == STREAMS
        and all(0.8 * fair <= each <= 1.2 * fair for each in shares)
    )


def _rows(database: psycopg.Connection[tuple[object, ...]], name: str) -> dict[object, object]:
    sql = "select key, text, likes from app_message where room = %s"
    return {key: (text, likes) for key, text, likes in database.execute(sql, [name]).fetchall()}


def _counted(database: psycopg.Connection[tuple[object, ...]], name: str) -> int:
    """All messages of the stream, by their first disposition."""
    columns = " + ".join(DISPOSITIONS.values())
    found = database.execute(
        f"select {columns} from durable_state_stream where name = %s", [name]
    ).fetchone()
    assert found is not None
    return int(str(found[0]))
