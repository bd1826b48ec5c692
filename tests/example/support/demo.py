"""The demo as its own process, as `make demo` runs it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.private import free_port

__all__ = ["CHECKOUT", "Demo", "alive", "running"]

CHECKOUT = Path(__file__).resolve().parents[3]


class Demo:
    """One run. ``printed()`` is its output so far, ``url()`` the address of its pages."""

    def __init__(self, process: subprocess.Popen[bytes], output: Path, folder: Path) -> None:
        self.process = process
        self.output = output
        self.folder = folder

    def printed(self) -> str:
        return self.output.read_text(errors="replace")

    def wait_for(self, text: str, seconds: float = 60) -> None:
        """Returns when it has printed the text; fails if it ends or takes too long."""
        deadline = time.monotonic() + seconds
        while text not in self.printed():
            ended = self.process.poll()
            assert ended is None, f"the demo ended with {ended}:\n{self.printed()}"
            assert time.monotonic() < deadline, f"the demo did not say {text!r}:\n{self.printed()}"
            time.sleep(0.05)

    def url(self) -> str:
        """The pages' base URL, once they are available."""
        self.wait_for("Press Ctrl-C")
        found = re.search(r"http://127\.0\.0\.1:\d+(?=/chat/)", self.printed())
        assert found, self.printed()
        return found[0]

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        """Sends the signal and returns the exit code."""
        self.process.send_signal(number)
        return self.process.wait(20)

    def manage(self, *words: str) -> str:
        """The output of ``manage.py``, on the demo's own database."""
        (database,) = self.folder.glob("*/db.sqlite3")
        done = subprocess.run(
            [sys.executable, "manage.py", *words],
            cwd=CHECKOUT,
            env=os.environ
            | {
                "DJANGO_SETTINGS_MODULE": "example_project.settings",
                "EXAMPLE_STATE_DIR": str(database.parent),
            },
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def descendants(self) -> dict[int, str]:
        """The command lines, by process id, of everything that it started, directly or not."""
        listed = subprocess.run(
            ["ps", "-A", "-ww", "-o", "pid=,ppid=,args="],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        rows = [
            (int(pid), int(ppid), args)
            for pid, ppid, args in (
                line.split(None, 2) for line in listed.splitlines() if line.count(" ") > 1
            )
        ]
        found: dict[int, str] = {}
        parents = {self.process.pid}
        while parents:
            children = {
                pid: args
                for pid, ppid, args in rows
                if ppid in parents and not args.startswith("ps ")
            }
            found |= children
            parents = set(children)
        return found


def alive(pids: Iterable[int]) -> list[int]:
    """The processes that still run; one that has ended and is not yet reaped counts as gone."""
    states = subprocess.run(
        ["ps", "-o", "pid=,stat=", "-p", ",".join(map(str, pids))], capture_output=True, text=True
    ).stdout
    return [
        int(pid)
        for pid, state in (line.split() for line in states.splitlines())
        if not state.startswith("Z")
    ]


@contextmanager
def running(folder: Path, *arguments: str, ports: tuple[int, int] | None = None) -> Iterator[Demo]:
    """Starts the demo with its own files and ports, and makes sure that it ends."""
    web, stream = ports or (free_port(), free_port())
    folder.mkdir(parents=True, exist_ok=True)
    output = folder / f"printed-{time.monotonic_ns()}"
    command = [
        sys.executable,
        "-m",
        "example_project.demo",
        f"--port={web}",
        f"--stream-port={stream}",
        *arguments,
    ]
    # As from a shell without any of this project's variables.
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("EXAMPLE_", "DJANGO_"))
    }
    environment["EXAMPLE_DEMO_DIR"] = str(folder)
    with output.open("wb") as sink:
        process = subprocess.Popen(
            command,
            cwd=CHECKOUT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
        )
    try:
        yield Demo(process, output, folder)
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
