"""Child processes that live and die together."""

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

__all__ = ["ChildDied", "Process", "Processes"]


class ChildDied(Exception):
    """A process that should run has ended; the text says which, how, and its last words."""


@dataclass(frozen=True)
class Process:
    """One child, the leader of a process group of its own."""

    name: str
    popen: subprocess.Popen[bytes]
    log: Path
    stop: signal.Signals

    def last_words(self, lines: int = 12) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


class Processes:
    """Starts processes and ends all of them, with whatever they started themselves, when it is left."""

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
        """Starts a program. Its own group keeps the terminal's Ctrl-C from it, so that we end it in order."""
        log = self.logs / f"{name.replace(' ', '-')}.log"
        with log.open("ab") as output:
            popen = subprocess.Popen(
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
        process = Process(name, popen, log, stop)
        self.running.append(process)
        return process

    def check(self) -> None:
        """Raises: ChildDied as soon as one of them does not run."""
        for process in self.running:
            if (code := process.popen.poll()) is not None:
                how = (
                    f"was ended by {signal.Signals(-code).name}"
                    if code < 0
                    else f"ended with exit code {code}"
                )
                raise ChildDied(
                    f"The {process.name} {how}. The end of {process.log}:\n{process.last_words()}"
                )

    def wait_for_port(self, process: Process, port: int, seconds: float = 30) -> None:
        """Returns when something listens there. Raises: ChildDied, also when nothing does in time."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.check()
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                return
            time.sleep(0.05)
        raise ChildDied(
            f"The {process.name} does not answer on port {port}. The end of {process.log}:\n{process.last_words()}"
        )

    def end(self, seconds: float = 5) -> None:
        """Asks all to stop, the last one first, and kills what is left of their groups after some seconds."""
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
    """Where the kernel can (Linux), a child gets SIGTERM when the demo itself is killed outright and can end nobody."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)
