"""Child processes that end together. One that dies meanwhile is started again."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

__all__ = ["ChildDied", "Failed", "Process", "Processes"]

FIRST_WAIT = 1.0
"""Seconds before a process that died is started again; each further death in a row doubles them."""

STEADY_SECONDS = 30.0
"""A process that ran this long was well: its next death is the first of a row again."""

MOST_DEATHS = 5
"""So many deaths in a row are no accident: starting it once more would not help."""


class Failed(Exception):
    """The demo cannot go on, or its rows are wrong. The text says why, to whoever ran it."""


class ChildDied(Failed):
    """A process that should run has ended. The text says which, how, and its last words."""


@dataclass
class Process:
    """One child, the leader of a process group of its own."""

    name: str
    command: Sequence[str]
    log: Path
    stop: signal.Signals
    popen: subprocess.Popen[bytes]
    started: float
    """When it was started last, on the monotonic clock."""

    deaths: int = 0
    """In a row."""

    start_again_at: float | None = None
    """When it will be started again; None while it runs, as far as we know."""

    def last_words(self, lines: int = 12) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def how_it_ended(self) -> str | None:
        """Returns "ended with exit code 1" or the like, or None while it runs."""
        code = self.popen.poll()
        if code is None:
            return None
        if code < 0:
            return f"was ended by {signal.Signals(-code).name}"
        return f"ended with exit code {code}"

    def check(self) -> None:
        """Raises: ChildDied when it does not run."""
        if how := self.how_it_ended():
            raise ChildDied(f"The {self.name} {how}. The end of {self.log}:\n{self.last_words()}")


class Processes:
    """Starts processes, and ends them and whatever they started when it is left."""

    def __init__(self, folder: Path, logs: Path, environment: Mapping[str, str]) -> None:
        self.folder = folder
        self.logs = logs
        self.environment = dict(environment)
        self.running: list[Process] = []

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *exception: object) -> None:
        self.end()

    def start(self, name: str, *arguments: str, stop: signal.Signals = signal.SIGTERM) -> Process:
        """Starts a Python module with its arguments; what it prints goes to a log of its name."""
        return self.start_program(name, [sys.executable, "-m", *arguments], stop=stop)

    def start_program(
        self, name: str, command: Sequence[str], *, stop: signal.Signals = signal.SIGTERM
    ) -> Process:
        """Starts a program in its own group,
        so that Ctrl-C reaches us only, and we end it in order.
        """
        log = self.logs / f"{name.replace(' ', '-')}.log"
        popen = self._spawn(command, log)
        process = Process(name, command, log, stop, popen, time.monotonic())
        self.running.append(process)
        return process

    def _spawn(self, command: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
        with log.open("ab") as output:
            return subprocess.Popen(
                command,
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                # Between fork and exec no function may run where other threads might hold locks.
                preexec_fn=_die_with_parent
                if sys.platform == "linux" and threading.active_count() == 1
                else None,
            )

    def check(self) -> None:
        """Raises: ChildDied as soon as one of them does not run."""
        for process in self.running:
            process.check()

    def tend(self) -> list[Process]:
        """Starts again what has died, later each time, and says so; returns what it started.

        Raises: ChildDied when one of them dies again and again.
        """
        started = []
        for process in self.running:
            if process.start_again_at is None:
                if how := process.how_it_ended():
                    self._bury(process, how)
            elif time.monotonic() >= process.start_again_at:
                process.popen = self._spawn(process.command, process.log)
                process.started, process.start_again_at = time.monotonic(), None
                started.append(process)
        return started

    def kill(self, name: str) -> None:
        """Kills a process and whatever it started, as a power cut would.

        ``tend`` starts it again.
        """
        for process in self.running:
            if process.name == name:
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(process.popen.pid, signal.SIGKILL)

    def _bury(self, process: Process, how: str) -> None:
        """Ends what the dead process has left behind, and sets when it is started again."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.popen.pid, signal.SIGKILL)
        if time.monotonic() - process.started >= STEADY_SECONDS:
            process.deaths = 0
        process.deaths += 1
        if process.deaths >= MOST_DEATHS:
            raise ChildDied(
                f"The {process.name} {how}, {process.deaths} times in a row. "
                f"The end of {process.log}:\n{process.last_words()}"
            )

        wait = FIRST_WAIT * 2 ** (process.deaths - 1)
        process.start_again_at = time.monotonic() + wait
        print(f"The {process.name} {how}; starting it again in {wait:.0f} s. Log: {process.log}")

    def wait_for_port(self, process: Process, port: int, seconds: float = 30) -> None:
        """Returns once something listens there.

        Raises: ChildDied, also when nothing does in time.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            process.check()
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                return
            time.sleep(0.05)
        raise ChildDied(
            f"The {process.name} does not answer on port {port}. "
            f"The end of {process.log}:\n{process.last_words()}"
        )

    def end(self, seconds: float = 5) -> None:
        """Asks all to stop, the last one first,
        and kills what is left of them after some seconds.
        """
        for process in reversed(self.running):
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.popen.pid, process.stop)
        deadline = time.monotonic() + seconds
        for process in self.running:
            with suppress(subprocess.TimeoutExpired):
                process.popen.wait(max(0.0, deadline - time.monotonic()))
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.popen.pid, signal.SIGKILL)
            process.popen.wait()
        self.running.clear()


def _die_with_parent() -> None:
    """Has Linux send a child SIGTERM when the demo itself is killed and can end nobody."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)
