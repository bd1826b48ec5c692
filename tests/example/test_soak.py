"""The demo, kept busy for as long as `make soak MINUTES=60` says: nothing dies or is lost."""

from __future__ import annotations

import itertools
import os
import random
import re
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import httpx
import pytest

from tests.acceptance.support.subscriber import State, WebsocketSubscriber
from tests.repositories import ScratchRepository

from .support.demo import CHECKOUT, Demo, running
from .support.history import git_tree, wait_for_rows

MINUTES = float(os.environ.get("DURABLE_STATE_SOAK_MINUTES", "60"))
ROOMS = ("lobby", "workshop", "garden")
VISITORS = 4
PROCESSES = ("rakaia", "worker", "beat", "asgi")

pytestmark = [pytest.mark.soak, pytest.mark.timeout(MINUTES * 60 + 600)]

PING = """
import time
from example_project.celery import app
while True:
    assert all("ok" in answer for each in app.control.ping(timeout=1) for answer in each.values())
    time.sleep(0.2)
"""
"""Asks the workers by broadcast, which uses the broker's tables of exchanges."""


class Visitor:
    """Someone who says and retracts things. ``said`` holds the keys that must be there in the
    end.
    """

    def __init__(self, url: str, number: int) -> None:
        self.client = httpx.Client(base_url=url, trust_env=False, timeout=60)
        self.choices = random.Random(number)
        self.said: dict[str, set[str]] = {room: set() for room in ROOMS}
        self.client.get("/chat/lobby/").raise_for_status()
        self._post("/chat/name/", data={"name": f"Visitor {number}"})

    def do_something(self) -> None:
        """Does one thing in one room; whatever it is, the server must accept it."""
        room = self.choices.choice(ROOMS)
        mine = self.said[room]
        dice = self.choices.random()
        if dice < 0.6:
            mine.add(self._act(room, {"do": "say", "text": "x" * self.choices.randint(1, 500)}))
        elif dice < 0.8:
            self._act(room, {"do": "typing", "on": dice < 0.7})
        elif len(mine) > 50:
            key = self.choices.choice(sorted(mine))
            self._act(room, {"do": "delete", "message": key}, also=400)  # 400: not a row yet
        time.sleep(self.choices.uniform(0.05, 0.4))

    def _act(self, room: str, action: dict[str, object], also: int = 200) -> str:
        answer = self._post(f"/chat/{room}/act/", also, json=action)
        if action["do"] == "delete" and answer.status_code == 200:
            self.said[room].discard(str(action["message"]))
        return str(answer.json().get("key"))

    def _post(self, path: str, also: int = 200, **body: object) -> httpx.Response:
        token = next(value for name, value in self.client.cookies.items() if "csrf" in name)
        answer = self.client.post(path, headers={"X-CSRFToken": token}, **body)  # type: ignore[arg-type]
        assert answer.status_code in (200, also), answer.text
        return answer


class Busy:
    """Threads that repeat something until they are stopped; errors are collected."""

    def __init__(self) -> None:
        self.stopped = threading.Event()
        self.error: BaseException | None = None
        self.threads: list[threading.Thread] = []

    def repeat(self, something: Callable[[], None]) -> None:
        def run() -> None:
            try:
                while not self.stopped.is_set():
                    something()
            except BaseException as error:
                self.error = error
                self.stopped.set()

        self.threads.append(threading.Thread(target=run, daemon=True))
        self.threads[-1].start()

    def stop(self) -> None:
        self.stopped.set()
        for thread in self.threads:
            thread.join(90)
        assert self.error is None, repr(self.error)


def settings_of(demo: Demo) -> dict[str, str]:
    """The environment that makes another process one of the demo's."""
    server = re.search(r"to (http://127\.0\.0\.1:\d+)/history", demo.printed())
    assert server, demo.printed()
    return {
        "EXAMPLE_STATE_DIR": str(demo.folder / "1"),
        "EXAMPLE_STREAM_SERVER": server[1],
        "DJANGO_SETTINGS_MODULE": "example_project.settings",
    }


@contextmanager
def pinging(demo: Demo) -> Iterator[subprocess.Popen[bytes]]:
    """A process that never stops asking the workers whether they are there."""
    command = [sys.executable, "-c", PING]
    process = subprocess.Popen(command, cwd=CHECKOUT, env=os.environ | settings_of(demo))
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def memory(demo: Demo) -> Counter[str]:
    """The memory in MiB that the demo's processes use, by what they run."""
    held: Counter[str] = Counter()
    descendants = demo.descendants()
    command = ["ps", "-o", "pid=,rss=", "-p", ",".join(map(str, descendants))]
    for line in subprocess.run(command, capture_output=True, text=True).stdout.splitlines():
        pid, kilobytes = map(int, line.split())
        names = (name for name in PROCESSES if name in descendants[pid])
        held[next(names, "other")] += kilobytes // 1024
    return held


def test_a_busy_demo(tmp_path: Path) -> None:
    """Visitors chat, commits come, workers are pinged: nobody dies, and rows and pages agree."""
    repository = ScratchRepository(tmp_path / "repository")
    repository.fill(12)
    with (
        running(tmp_path / "demo", f"--repository={repository.folder}") as demo,
        ExitStack() as ends,
    ):
        url, folder = demo.url(), tmp_path / "demo" / "1"
        visitors = [Visitor(url, number) for number in range(VISITORS)]
        watchers = {
            name: WebsocketSubscriber(f"{url.replace('http', 'ws')}/ws/state/{name}/")
            for name in (*(f"chat-{room}" for room in ROOMS), "history")
        }
        for visitor in visitors:
            ends.callback(visitor.client.close)
        for watcher in watchers.values():
            ends.callback(watcher.close)
        busy = Busy()
        for visitor in visitors:
            busy.repeat(visitor.do_something)
        busy.repeat(committing(repository))

        with pinging(demo) as pings:
            held = keep_watching(demo, busy, pings)
        busy.stop()

        wait_for_rows(folder, repository, 60)
        for room in ROOMS:
            said = set().union(*(visitor.said[room] for visitor in visitors))
            wait_for_messages(folder, room, said)
            watchers[f"chat-{room}"].wait_until(shows("message", said), 60)
        watchers["history"].wait_until(shows("file", set(git_tree(repository))), 60)
        for name in watchers:
            verify(demo, name)
        assert "starting it again" not in demo.printed()
        assert wrong_lines(folder) == []
        for name, first in held[0].items():
            # What the database's cache and Python's allocator take at first is not growth.
            assert held[-1][name] < 1.5 * first + 30, f"the memory of {name} grew: {held} MiB"


def shows(entity_type: str, keys: set[str]) -> Callable[[State], bool]:
    """Returns a function that says whether a subscriber knows exactly those entities of the
    type.
    """
    return lambda state: {key for kind, key in state if kind == entity_type} == keys


def committing(repository: ScratchRepository) -> Callable[[], None]:
    """Returns a function that makes the next commit, and waits a little."""
    numbers = itertools.count()

    def commit() -> None:
        number = next(numbers)
        repository.write(f"busy/{number % 50}.txt", f"{number}\n")
        repository.commit(f"Busy {number}")
        time.sleep(2)

    return commit


def keep_watching(demo: Demo, busy: Busy, pings: subprocess.Popen[bytes]) -> list[Counter[str]]:
    """Checks the demo for the whole time; returns its memory, once a minute."""
    held: list[Counter[str]] = []
    begun = time.monotonic()
    while (passed := time.monotonic() - begun) < MINUTES * 60 and not busy.stopped.is_set():
        assert demo.process.poll() is None, demo.printed()
        assert pings.poll() is None, "asking the workers failed"
        # Not at once: the processes are still importing.
        if passed > 30 + len(held) * 60:
            held.append(memory(demo))
            print(f"minute {len(held)}, MiB: {dict(held[-1])}")
        time.sleep(1)
    return held or [memory(demo)]


def wait_for_messages(folder: Path, room: str, wanted: set[str], seconds: float = 60) -> None:
    """Waits until the room's message rows are exactly those."""
    sql = (
        "select message.key from chat_message message "
        "join chat_room room on room.id = message.room_id where room.slug = ?"
    )
    deadline = time.monotonic() + seconds
    with closing(sqlite3.connect(folder / "db.sqlite3")) as database:
        while (found := {key for (key,) in database.execute(sql, [room])}) != wanted:
            assert time.monotonic() < deadline, (len(found), len(wanted), len(found ^ wanted))
            time.sleep(0.2)


def verify(demo: Demo, name: str) -> None:
    """Fails unless the command says that the stream's rows equal it."""
    command = [sys.executable, "manage.py", "durable_state", "verify", name]
    environment = os.environ | settings_of(demo)
    done = subprocess.run(command, cwd=CHECKOUT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def wrong_lines(folder: Path) -> list[str]:
    """Lines of the demo's logs that report something broken."""
    return [
        f"{log.name}: {line}"
        for log in sorted((folder / "logs").iterdir())
        for line in log.read_text(errors="replace").splitlines()
        if re.search(r"\b(CRITICAL|ERROR|Traceback)\b", line)
    ]
