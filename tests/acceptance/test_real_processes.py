"""Everything for real: reference stream server, Celery on Redis, PostgreSQL, an ASGI server, websockets; and kills."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
import redis

from durable_state.transport import append, create, open_client
from example_project.demo.place import CHECKOUT
from example_project.demo.processes import Process, Processes
from example_project.history.repository import Repository
from example_project.history.source import GitHistory, packed
from tests.acceptance.subscriber import WebsocketSubscriber
from tests.private import free_port
from tests.repositories import ScratchRepository
from tests.servers.process import StreamServer
from tests.servers.require import skip_or_fail
from tests.services import find, missing

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(480)]

WORKER = ("celery", "--app=example_project", "worker", "--pool=prefork", "--concurrency=2", "--loglevel=INFO")


@pytest.fixture
def postgres_url() -> Iterator[str]:
    """A PostgreSQL database of this test's own."""
    found = find("postgres")
    if found is None:
        skip_or_fail(missing["postgres"])
    url, name = urlsplit(found), f"durable_state_acceptance_{os.getpid()}"
    with psycopg.connect(urlunsplit(url._replace(path="/postgres")), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        yield urlunsplit(url._replace(path=f"/{name}"))
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def own_redis_url(redis_url: str) -> Iterator[str]:
    """A Redis database that was empty, and is again."""
    for number in range(15, 0, -1):
        url = urlunsplit(urlsplit(redis_url)._replace(path=f"/{number}"))
        with redis.Redis.from_url(url) as client:
            if client.dbsize() == 0:
                yield url
                client.flushdb()
                return
    skip_or_fail("no database of the Redis server is empty")


@dataclass
class Site:
    """The running processes, and the same database for the test's own look."""

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
        """Ends the worker and its processes wherever they are, and starts another one at once."""
        self.kills.append(self.ordinal())
        os.killpg(self.worker.popen.pid, signal.SIGKILL)
        self.worker.popen.wait()
        self.processes.running.remove(self.worker)
        self.worker = self.processes.start("worker", *WORKER, stop=signal.SIGKILL)

    def wait_for_ordinal(self, wanted: int, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while self.ordinal() < wanted:
            self.processes.check()
            assert time.monotonic() < deadline, f"message {self.ordinal()} of {wanted}; {self.worker.last_words()}"
            time.sleep(0.02)


@contextmanager
def running(folder: Path, stream_url: str, postgres_url: str, redis_url: str) -> Iterator[Site]:
    """Migrates, adds the stream with the command, and starts worker, beat and web server."""
    (folder / "logs").mkdir()
    environment = os.environ | {
        "DJANGO_SETTINGS_MODULE": "tests.acceptance.settings",
        "EXAMPLE_STATE_DIR": str(folder),
        "EXAMPLE_STREAM_SERVER": stream_url.rsplit("/", 1)[0],
        "EXAMPLE_POSTGRES_URL": postgres_url,
        "EXAMPLE_REDIS_URL": redis_url,
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
            "beat", "celery", "--app=example_project", "beat", f"--schedule={folder / 'beat'}", "--pidfile="
        )
        worker = processes.start("worker", *WORKER, stop=signal.SIGKILL)
        processes.wait_for_port(web, port)
        yield Site(processes, database, worker, f"ws://127.0.0.1:{port}/ws/state/history/")


def tell(url: str, commits: list[list[bytes]]) -> int:
    """Appends the messages and returns how many they are."""

    async def append_all() -> None:
        async with open_client(trust_env=False) as client:
            await create(client, url)
            for messages in packed(commits):
                await append(client, url, messages)

    asyncio.run(append_all())
    return sum(map(len, commits))


def test_killed_again_and_again(
    tmp_path: Path, reference_server: StreamServer, postgres_url: str, own_redis_url: str
) -> None:
    """With the worker killed in the middle of the sync, again and again, the rows end equal to git's tree and so does a websocket client."""
    repository = ScratchRepository(tmp_path / "repository")
    repository.import_commits(2500)
    source = GitHistory(Repository(repository.folder))
    url = reference_server.stream("history")
    told = tell(url, list(source.news()))

    with running(tmp_path, url, postgres_url, own_redis_url) as site:
        subscriber = WebsocketSubscriber(site.websocket_url)
        for part in range(1, 7):
            site.wait_for_ordinal(told * part // 8, 60)
            site.kill_worker()
        site.wait_for_ordinal(told, 120)

        in_the_middle = [ordinal for ordinal in site.kills if 0 < ordinal < told]
        assert len(set(in_the_middle)) >= 4, site.kills
        assert site.files() == source.tree()
        assert site.one("select count(*), sum(commits) from history_author") == (9, 2500)
        assert site.one("select count(*) from history_commit") == (2500,)
        counted = "applied_count + no_row_count + parked_count + dead_letter_count + unregistered_count + control_count + superseded_count"
        assert site.one(f"select ordinal, {counted} from durable_state_stream") == (told, told)
        assert site.one(
            "select (select count(*) from durable_state_deadletter), (select count(*) from durable_state_parkedchange)"
        ) == (0, 0)

        # A live event, all the way to the browser's end.
        repository.git("reset", "-q", "--hard")
        repository.write("appended later.txt", "live")
        commit = repository.commit("Seen live")
        tell(url, list(source.news()))
        subscriber.wait_until(lambda state: ("file", "appended later.txt") in state, 30)
        assert subscriber.state["commit", commit]["subject"] == "Seen live"

        tree = source.tree()
        shown = {
            key: (value["mode"], value["blob"]) for (kind, key), value in subscriber.state.items() if kind == "file"
        }
        assert shown == tree == site.files()
        subscriber.close()

        late = WebsocketSubscriber(site.websocket_url)
        late.wait_until(lambda state: state == subscriber.state, 30)
        late.close()
