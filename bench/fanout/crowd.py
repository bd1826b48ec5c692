"""One web process, many clients, and changes at a steady pace."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import quantiles
from typing import Any

import msgspec

from bench.databases import connection_settings
from bench.latency.listeners import wait_until_open
from bench.live.consumption import NAME, consumer
from bench.recording import messages
from bench.spread import Spread
from bench.streams import Producer, stream_server
from tests.servers.rakaia import free_port

__all__ = ["WAYS", "Served", "clients_of", "measure", "question", "web_process"]

WAYS = {"durable_state": "/ws/state", "tutorial": "/tutorial", "floor": "/floor"}
"""The path of each way's websocket."""
WARM_UP = 20
"""Events before the measured ones."""
SECONDS = 20.0
"""The most seconds until a server listens."""
QUIET_SECONDS = 3.0
"""Seconds without an arrival after which missing changes count as lost."""


class Served(msgspec.Struct):
    """What one web process achieved for its subscribers."""

    way: str
    subscribers: int
    events: int
    number: int
    delivered: int
    """Changes in callbacks of clients; complete if this is events times subscribers."""
    frames: int
    """The frames that they came in: if the consumer is late, one commit has several changes."""
    cpu: float
    """CPU seconds of the web process."""
    clients_cpu: float
    """CPU seconds of the clients, for comparison."""
    latency: Spread
    """Milliseconds from the append of an event to the callback of each client."""
    seconds: float
    """Seconds from the first append to the last arrival."""

    @property
    def per_cpu_second(self) -> float:
        """Frames delivered per CPU second of the web process."""
        return self.frames / max(self.cpu, 0.01)  # which is a tick of the clock

    @property
    def lost(self) -> int:
        """Changes that did not arrive."""
        return self.events * self.subscribers - self.delivered


def measure(
    alias: str, redis: str, way: str, subscribers: int, events: int, rate: float, number: int
) -> Served:
    """Appends inserts steadily, and counts what arrives where."""
    recorded = list(messages("inserts", WARM_UP + events))
    keys = [msgspec.json.decode(message)["key"] for message in recorded]
    environment = {
        "BENCH_REDIS": redis,
        "BENCH_FLOOR": f"{connection_settings(alias)['NAME']}-floor",
        "BENCH_TELLS": "" if way == "durable_state" else way,
    }
    with ExitStack() as stack:
        url = stack.enter_context(stream_server()).stream(NAME)
        producer = stack.enter_context(Producer(url))
        following = stack.enter_context(consumer(alias, [url], environment))
        following.wait_until_live()
        port = free_port()
        web = stack.enter_context(web_process(alias, port, environment))
        clients = stack.enter_context(clients_of(port, f"{WAYS[way]}/{NAME}/", subscribers))

        producer.append_steadily(recorded[:WARM_UP], rate)
        _wait(clients, WARM_UP * subscribers)
        before, clients_before = _cpu(web), _cpu(clients)
        frames_before: int = question(clients, "frames")
        began = time.monotonic_ns()
        sent = producer.append_steadily(recorded[WARM_UP:], rate)
        _wait(clients, (WARM_UP + events) * subscribers)
        cpu, clients_cpu = _cpu(web) - before, _cpu(clients) - clients_before
        frames: int = question(clients, "frames") - frames_before
        arrivals: dict[str, list[int]] = question(clients, "all")

    sent_at = dict(zip(keys[WARM_UP:], sent, strict=True))
    delays = [(now - sent_at[key]) / 1e6 for key in sent_at for now in arrivals.get(key, ())]
    cuts = quantiles(delays, n=100, method="inclusive")
    last = max(now for key in sent_at for now in arrivals.get(key, ()))
    return Served(
        way,
        subscribers,
        events,
        number,
        len(delays),
        frames,
        cpu,
        clients_cpu,
        Spread(cuts[49], cuts[98]),
        (last - began) / 1e9,
    )


def _wait(clients: subprocess.Popen[str], wanted: int) -> None:
    """Returns once so many have arrived, or nothing more comes."""
    known, since = -1, time.monotonic()
    while (count := question(clients, "count")) < wanted:
        if count != known:
            known, since = count, time.monotonic()
        elif time.monotonic() - since > QUIET_SECONDS:
            return
        time.sleep(0.1)


def question(clients: subprocess.Popen[str], text: str) -> Any:
    """The clients' answers."""
    assert clients.stdin is not None
    assert clients.stdout is not None
    clients.stdin.write(f"{text}\n")
    clients.stdin.flush()
    return json.loads(clients.stdout.readline())


def _cpu(process: subprocess.Popen[Any]) -> float:
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def web_process(
    alias: str, port: int, environment: dict[str, str]
) -> Iterator[subprocess.Popen[Any]]:
    """uvicorn, with all ways."""
    settings = {
        "POLICY": "bench.latency.policy.Everybody",
        # All clients are one user here.
        "FEED_SUBSCRIBERS": 100_000,
        "FEED_USER_SUBSCRIPTIONS": 100_000,
    }
    command = [sys.executable, "-m", "uvicorn", "bench.fanout.asgi:application"]
    command += ["--port", str(port), "--lifespan", "off", "--log-level", "warning"]
    process = subprocess.Popen(
        command,
        env=os.environ
        | {
            "DJANGO_SETTINGS_MODULE": "bench.settings",
            "BENCH_DATABASE": json.dumps(connection_settings(alias) | {"CONN_MAX_AGE": 60}),
            "BENCH_DURABLE_STATE": json.dumps(settings),
            **environment,
        },
    )
    try:
        wait_until_open(port, process)
        yield process
    finally:
        process.kill()  # It would say goodbye to each socket.
        process.wait(SECONDS)


@contextmanager
def clients_of(
    port: int, path: str, count: int, address: str = "127.0.0.1"
) -> Iterator[subprocess.Popen[str]]:
    """So many clients in one process, which connect from that address."""
    command = [sys.executable, "-m", "bench.fanout.swarm", "127.0.0.1", str(port), path]
    command += [str(count), address]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        if process.stdout.readline() != "ready\n":
            raise RuntimeError("The clients could not connect.")
        time.sleep(1)  # for snapshots, and to join groups
        yield process
    finally:
        process.kill()
        process.communicate()
