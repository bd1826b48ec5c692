"""A fleet: Celery workers, beat and ``run`` as processes, and servers that can be taken down."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from tests import private
from tests.servers.process import StreamServer
from tests.servers.reference import reference

__all__ = ["LEASE_SECONDS", "SEATS", "Fleet", "RestartableStreamServer", "Worker", "fleet"]

LEASE_SECONDS = 4.0
SEATS = 4
"""Two Celery workers with two processes each, of which one has to supervise, and a `run`."""
CHECKOUT = Path(__file__).parents[3]
CELERY = ("celery", "--app=tests.acceptance.support.fleet_celery")
BEAT = (*CELERY, "beat", "--pidfile=", "--loglevel=WARNING")
WORKER = (*CELERY, "worker", "--pool=prefork", "--concurrency=2", "--loglevel=INFO")
RUN = ("django", "durable_state", "run")


class Worker:
    """A process with everything that it starts; it can be killed, frozen, or asked to end."""

    def __init__(self, name: str, arguments: tuple[str, ...], fleet: Fleet) -> None:
        self.name = name
        self.in_hand = threading.Lock()
        """Held by a test while it keeps the process down."""
        self._arguments, self._fleet = arguments, fleet
        self.log = fleet.folder / f"{name}.log"
        self.start()

    def start(self) -> None:
        """Starts it without waiting for it."""
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *self._arguments],
                cwd=CHECKOUT,
                env=self._fleet.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def revive(self) -> None:
        """Starts it again, if it has ended."""
        if self.process.poll() is not None:
            self.signal_all(signal.SIGKILL)  # children that it has left behind
            self.start()

    def signal_all(self, number: signal.Signals) -> None:
        """Sends a signal to the process and its children."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def kill(self) -> None:
        """Kills it, whatever it is doing."""
        self.signal_all(signal.SIGKILL)
        self.process.wait()

    def ask_to_end(self, seconds: float) -> float:
        """Sends SIGTERM, as a supervisor does, and returns the seconds until it has ended."""
        began = time.monotonic()
        self.process.terminate()
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.name} did not end within {seconds:g} s") from None
        return time.monotonic() - began

    def last_words(self) -> str:
        """The last part of its output."""
        return self.log.read_text(errors="replace")[-3000:]


class RestartableStreamServer:
    """The reference server with its own files, at a fixed address."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._port = folder, private.free_port()
        self._running = ExitStack()
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Starts it; it continues from its files."""
        server: StreamServer = self._running.enter_context(
            reference(long_poll_seconds=5, port=self._port, data_dir=self._folder)
        )
        self._server = server

    def kill(self) -> None:
        """Kills it, whatever it is doing."""
        self._server.process.kill()
        self.close()

    def close(self) -> None:
        """Ends it."""
        self._running.close()


class Fleet:
    """The workers, and the servers that they need."""

    def __init__(self, folder: Path, postgres: private.PrivateServer) -> None:
        self.folder = folder
        self.postgres, self.broker = postgres, private.redis()
        self.streams = RestartableStreamServer(folder / "streams")
        self.environment = os.environ | {
            "DJANGO_SETTINGS_MODULE": "tests.acceptance.support.fleet_settings",
            "FLEET_POSTGRES_URL": postgres.url,
            "FLEET_REDIS_URL": self.broker.url,
            "FLEET_LEASE_SECONDS": str(LEASE_SECONDS),
            "FLEET_SEATS": str(SEATS),
            "PYTHONUNBUFFERED": "1",
        }
        self.workers: list[Worker] = []
        self._ends = threading.Event()
        self._supervisor = threading.Thread(target=self._keep_running, daemon=True)

    def manage(self, *arguments: str) -> str:
        """The output of a management command, which must succeed."""
        done = subprocess.run(
            [sys.executable, "-m", "django", *arguments],
            cwd=CHECKOUT,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start_workers(self) -> None:
        """Two Celery workers, a `run`, and beat, which no test disturbs."""
        schedule = f"--schedule={self.folder / 'beat'}"
        self.beat = Worker("beat", (*BEAT, schedule), self)
        for name, arguments in (
            ("celery-1", (*WORKER, "--hostname=one@%h")),
            ("celery-2", (*WORKER, "--hostname=two@%h")),
            ("run", RUN),
        ):
            self.workers.append(Worker(name, arguments, self))
        self._supervisor.start()

    def _keep_running(self) -> None:
        """Restarts processes that have ended, as systemd or a container engine does: a Celery
        worker may die when its broker comes back.
        """
        while not self._ends.wait(1):
            for worker in self.workers:
                if worker.in_hand.acquire(blocking=False):
                    worker.revive()
                    worker.in_hand.release()

    def close(self) -> None:
        """Ends everything."""
        self._ends.set()
        if self._supervisor.is_alive():
            self._supervisor.join(5)
        for worker in [*self.workers, getattr(self, "beat", None)]:
            if worker is not None:
                worker.signal_all(signal.SIGCONT)
                worker.kill()
        self.streams.close()
        self.broker.stop()
        self.postgres.stop()


@contextmanager
def fleet(folder: Path) -> Iterator[Fleet]:
    """A fleet without workers, on a migrated database."""
    (folder / "streams").mkdir()
    made = Fleet(folder, private.postgres())
    try:
        _make_database(made.postgres.url)
        made.manage("migrate", "--verbosity=0", "--run-syncdb")
        yield made
    finally:
        made.close()


def _make_database(url: str) -> None:
    import psycopg

    server, _, name = url.rpartition("/")
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
