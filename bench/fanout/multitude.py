"""As many sockets in one web process as one machine holds: what each costs, and how long a
commit takes to reach all of them.
"""

from __future__ import annotations

import subprocess
import time
from contextlib import ExitStack
from statistics import median

import msgspec

from bench.live.consumption import NAME, consumer
from bench.processes import cpu, memory_mb
from bench.recording import messages
from bench.streams import Producer, stream_server
from tests.servers.rakaia import free_port

from .crowd import WAYS, clients_of, question, web_process

__all__ = ["Multitude", "measure_multitude"]

WAY = "durable_state"
CLIENTS = 2_500
"""Sockets of one client process, each of which has its own address."""
IDLE_SECONDS = 20.0
SECONDS = 60.0
"""The most seconds until all have arrived; beyond that, something is broken."""


class Multitude(msgspec.Struct):
    """The costs and latencies of so many sockets."""

    sockets: int
    number: int
    opened_after: float
    """Seconds until all were open, and had their first frames."""
    opening_cpu: float
    """CPU milliseconds of the web process for each socket."""
    memory_kb: float
    """Memory of the web process for each socket."""
    idle_cpu: float
    """Percent of a core, while nothing happens."""
    first: float
    """Milliseconds from an append until the first socket had it."""
    last: float
    """Milliseconds from an append until all sockets had it."""
    lost: int


def measure_multitude(alias: str, redis: str, sockets: int, events: int, number: int) -> Multitude:
    """Opens the sockets, leaves them alone, and appends now and then."""
    recorded = list(messages("inserts", 1 + events))
    with ExitStack() as stack:
        url = stack.enter_context(stream_server()).stream(NAME)
        producer = stack.enter_context(Producer(url))
        environment = {"BENCH_REDIS": redis, "BENCH_FLOOR": ""}
        following = stack.enter_context(consumer(alias, [url], environment))
        following.wait_until_live()
        port = free_port()
        web = stack.enter_context(web_process(alias, port, environment))
        path = f"{WAYS[WAY]}/{NAME}/"
        with clients_of(port, path, 1, "127.0.0.2") as first:
            producer.append_steadily(recorded[:1], 1)
            _wait(first, 1)
            memory, used, began = memory_mb(web.pid), cpu(web.pid), time.monotonic()

            swarms, sizes = [], []
            for start in range(0, sockets, CLIENTS):
                count, address = min(CLIENTS, sockets - start), f"127.0.0.{3 + start // CLIENTS}"
                swarms.append(stack.enter_context(clients_of(port, path, count, address)))
                sizes.append(count)
                _wait(swarms[-1], count)  # The row that exists already, in a snapshot.
            opened_after = time.monotonic() - began
            opening_cpu = cpu(web.pid) - used
            time.sleep(1)
            memory = memory_mb(web.pid) - memory

            used = cpu(web.pid)
            time.sleep(IDLE_SECONDS)
            idle = (cpu(web.pid) - used) / IDLE_SECONDS

            firsts, lasts, lost = [], [], 0
            for message in recorded[1:]:
                key = msgspec.json.decode(message)["key"]
                before = [question(each, "count") for each in swarms]
                (sent,) = producer.append_steadily([message], 1)
                for each, (count, own) in zip(swarms, zip(before, sizes, strict=True), strict=True):
                    _wait(each, count + own)
                found = [question(each, "all").get(key, []) for each in swarms]
                arrived = [moment for each in found for moment in each]
                firsts.append((min(arrived) - sent) / 1e6)
                lasts.append((max(arrived) - sent) / 1e6)
                lost += sockets - len(arrived)
    return Multitude(
        sockets,
        number,
        opened_after,
        1000 * opening_cpu / sockets,
        1024 * memory / sockets,
        100 * idle,
        median(firsts),
        median(lasts),
        lost,
    )


def _wait(clients: subprocess.Popen[str], wanted: int) -> None:
    """Returns once so many have arrived. Raises: TimeoutError."""
    until = time.monotonic() + SECONDS
    while question(clients, "count") < wanted:
        if time.monotonic() > until:
            raise TimeoutError("Not everything has arrived.")
        time.sleep(0.1)
