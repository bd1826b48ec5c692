"""The example as a site: worker, beat and web server as processes, on PostgreSQL and a broker."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from durable_state.transport import append, create, open_client
from example_project.demo.place import CHECKOUT
from example_project.demo.processes import Process, Processes
from example_project.history.source import packed
from tests.private import free_port

__all__ = ["QUEUE", "Site", "running", "tell"]

QUEUE = f"durable_state_acceptance_{os.getpid()}"
"""On a shared broker, others' workers must not get our tasks."""
WORKER = (
    "celery",
    "--app=example_project",
    "worker",
    "--pool=prefork",
    "--concurrency=2",
    "--loglevel=INFO",
)


@dataclass
class Site:
    """The running processes; the test looks at the same database."""

    processes: Processes
    database: psycopg.Connection[tuple[object, ...]]
    worker: Process
    websocket_url: str
    kills: list[int] = field(default_factory=list)

    def one(self, sql: str) -> tuple[object, ...]:
        row = self.database.execute(sql).fetchone()
        assert row is not None
        return row

    def ordinal(self) -> int:
        [ordinal] = self.one("select ordinal from durable_state_stream where name = 'history'")
        assert isinstance(ordinal, int)
        return ordinal

    def files(self) -> dict[str, tuple[str, str]]:
        rows = self.database.execute("select path, mode, blob from history_file").fetchall()
        return {str(path): (str(mode), str(blob)) for path, mode, blob in rows}

    def kill_worker(self) -> None:
        """Kills the worker and its processes, and starts another one at once."""
        self.kills.append(self.ordinal())
        os.killpg(self.worker.popen.pid, signal.SIGKILL)
        self.worker.popen.wait()
        self.processes.running.remove(self.worker)
        self.worker = self.processes.start("worker", *WORKER, stop=signal.SIGKILL)

    def wait_for_ordinal(self, wanted: int, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while self.ordinal() < wanted:
            self.processes.check()
            assert time.monotonic() < deadline, (
                f"message {self.ordinal()} of {wanted}; {self.worker.last_words()}"
            )
            time.sleep(0.02)


@contextmanager
def running(
    folder: Path, stream_url: str, postgres_url: str, redis_url: str, broker_url: str = ""
) -> Iterator[Site]:
    """Migrates, adds the stream with the command, and starts worker, beat and web server."""
    (folder / "logs").mkdir()
    shell = {name: value for name, value in os.environ.items() if not name.startswith("EXAMPLE_")}
    environment = shell | {
        "DJANGO_SETTINGS_MODULE": "tests.acceptance.support.settings",
        "EXAMPLE_STATE_DIR": str(folder),
        "EXAMPLE_STREAM_SERVER": stream_url.rsplit("/", 1)[0],
        "EXAMPLE_POSTGRES_URL": postgres_url,
        "EXAMPLE_REDIS_URL": redis_url,
        "EXAMPLE_BROKER_URL": broker_url or redis_url,
        "ACCEPTANCE_QUEUE": QUEUE,
        "PYTHONUNBUFFERED": "1",
    }
    port = free_port()
    with (
        Processes(CHECKOUT, folder / "logs", environment) as processes,
        psycopg.connect(postgres_url, autocommit=True) as database,
    ):
        for verb in (("migrate", "--verbosity=0"), ("durable_state", "add", "history", stream_url)):
            command = processes.start("command", "django", *verb)
            assert command.popen.wait(60) == 0, command.last_words()
            processes.running.remove(command)
        web = processes.start(
            "web server",
            "uvicorn",
            "example_project.asgi:application",
            "--host=127.0.0.1",
            f"--port={port}",
            "--lifespan=off",
        )
        processes.start(
            "beat",
            "celery",
            "--app=example_project",
            "beat",
            f"--schedule={folder / 'beat'}",
            "--pidfile=",
        )
        worker = processes.start("worker", *WORKER, stop=signal.SIGKILL)
        processes.wait_for_port(web, port)
        yield Site(processes, database, worker, f"ws://127.0.0.1:{port}/ws/state/history/")


def tell(url: str, commits: list[list[bytes]]) -> int:
    """Appends the messages and returns how many there are."""

    async def append_all() -> None:
        async with open_client(trust_env=False) as client:
            await create(client, url)
            for messages in packed(commits):
                await append(client, url, messages)

    asyncio.run(append_all())
    return sum(map(len, commits))
