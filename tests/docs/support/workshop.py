"""The folder that one page works in, and the processes it starts there."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any

from django.core.management import call_command

from tests.private import free_port
from tests.servers.chromium import find_chromium, launched

from .pages import CHECKOUT
from .window import Window

__all__ = ["Workshop", "make_projects"]

PORTS = ("4437", "4438", "8000", "8001")
"""Ports that pages name; each run replaces them with free ones."""

HERE = Path(__file__).resolve().parent


def make_projects(folder: Path) -> dict[str, Path]:
    """Creates the projects that pages begin with: ``empty``, and ``shop``, with an app ``shop``,
    migrated.
    """
    projects = {name: folder / name for name in ("empty", "shop")}
    for project in projects.values():
        project.mkdir()
    shop = projects["shop"]
    call_command("startproject", "mysite", str(shop))
    (shop / "shop").mkdir()
    call_command("startapp", "shop", str(shop / "shop"))
    with (shop / "mysite" / "settings.py").open("a") as settings:
        settings.write("\nINSTALLED_APPS += ['rest_framework', 'durable_state', 'shop']\n")
    shutil.rmtree(shop / "shop" / "migrations")
    # Once for all pages. With its own settings, whatever the tests' are.
    migrate = [
        sys.executable,
        "manage.py",
        "migrate",
        "--settings=mysite.settings",
        "--verbosity=0",
    ]
    subprocess.run(migrate, cwd=shop, check=True)
    return projects


class Workshop:
    """Executes blocks in a copy of a project, and finally ends everything it has started."""

    def __init__(self, folder: Path, page: str, *, bare: bool = False) -> None:
        """With ``bare``, only what the page itself installs is available."""
        self.folder = folder
        self.page = page
        self.bare = bare
        self.printed = ""
        self.unseen = ""
        """Why the page's parts that need a browser were skipped, if they were."""
        self._interpreter: subprocess.Popen[str] | None = None
        self._window: Window | None = None
        self._ports = {port: str(free_port()) for port in PORTS}
        self._ends = ExitStack()
        programs = _make_programs(folder.parent / f"{folder.name}-programs", bare=bare)
        if bare:
            programs = f"{folder / '.venv' / 'bin'}{os.pathsep}{programs}"
        self._environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("DJANGO_", "PYTHON", "VIRTUAL_ENV"))
        } | {
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            "NO_PROXY": "127.0.0.1",
            "PYTHONUNBUFFERED": "1",
        }

    def __enter__(self) -> Workshop:
        return self

    def __exit__(self, *exception: object) -> None:
        self._ends.close()

    def project(self, template: Path) -> None:
        """Starts from a copy of the project."""
        shutil.copytree(template, self.folder, dirs_exist_ok=True)

    def write(self, path: str, text: str, *, mode: str = "w") -> None:
        """Writes a file of the page, or appends to it."""
        assert self._interpreter is None, f"{path}: files come before the Python that needs them"
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open(mode) as file:
            file.write("\n" + self.here(text) if mode == "a" else self.here(text))

    def shell(self, script: str, seconds: float = 60) -> None:
        """Runs a script. Raises: AssertionError, with its output, if it fails."""
        done = subprocess.run(
            ["sh", "-euc", self.here(script)],
            cwd=self.folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
        )
        assert done.returncode == 0, (
            f"{script}\nended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
        )
        self.printed = done.stdout

    def install(self, script: str) -> None:
        """Runs the script that creates the page's environment, and installs this checkout there."""
        if self.bare:
            self.shell(script.replace("path/to/this/checkout", str(CHECKOUT)), seconds=300)

    def background(self, command: str) -> None:
        """Starts a command that runs until the page ends.

        If it names a port, returns once something listens there.
        """
        log = (self.folder / f"background-{len(list(self.folder.glob('background-*')))}.log").open(
            "w"
        )
        self._ends.callback(log.close)
        command = self.here(command)
        process = subprocess.Popen(
            ["sh", "-c", f"exec {command.strip()}"], cwd=self.folder, env=self._environment,
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
        self._ends.callback(_end, process)
        for port in self._ports.values():
            if port in command.split():
                _wait_for_port(int(port), process, Path(log.name))

    def wait(self, ordinal: int, seconds: float = 60) -> None:
        """Returns once a stream of the project's SQLite database has reached that message."""
        database = sqlite3.connect(self.folder / "db.sqlite3")
        with closing(database):
            deadline = time.monotonic() + seconds
            while (
                database.execute("SELECT max(ordinal) FROM durable_state_stream").fetchone()[0]
                < ordinal
            ):
                assert time.monotonic() < deadline, f"no stream came to message {ordinal}"
                time.sleep(0.05)

    def open(self, url: str, user: str, password: str) -> None:
        """Opens a page in a browser, if there is one, and signs in."""
        try:
            chromium = find_chromium()
        except LookupError as error:
            self.unseen = str(error)
            return
        self._window = Window(self._ends.enter_context(launched(chromium)))
        self._window.open(self.here(url), user, password)

    def see(self, text: str) -> None:
        """Returns when the page that was opened shows the text."""
        if self._window is not None:
            self._window.see(text)
        else:
            assert self.unseen, f"{self.page}: nothing was opened"

    def python(self, text: str, line: int) -> None:
        """Executes a block in the page's namespace. Raises: AssertionError, with the traceback."""
        if self._interpreter is None:
            self._interpreter = self._start_interpreter()
        process = self._interpreter
        assert process.stdin is not None
        assert process.stdout is not None
        block = {"text": self.here(text), "name": self.page, "line": line}
        with suppress(BrokenPipeError):
            process.stdin.write(json.dumps(block) + "\n")
            process.stdin.flush()
        answer = process.stdout.readline()
        assert answer, (
            f"{self.page}:{line}: the interpreter ended:"
            f" {(self.folder / 'interpreter.log').read_text()}"
        )
        result: dict[str, Any] = json.loads(answer)
        assert not result["error"], result["error"]
        self.printed = result["printed"]

    def _start_interpreter(self) -> subprocess.Popen[str]:
        log = (self.folder / "interpreter.log").open("w")
        self._ends.callback(log.close)
        process = subprocess.Popen(
            [sys.executable, str(HERE / "interpreter.py")], cwd=self.folder,
            env=self._environment | {"DJANGO_SETTINGS_MODULE": "mysite.settings"},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
        )  # fmt: skip

        def end() -> None:
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()
            process.wait(20)

        self._ends.callback(end)
        return process

    def here(self, text: str) -> str:
        """The text with the ports of this run."""
        for named, used in self._ports.items():
            text = text.replace(named, used)
        return text


def _make_programs(folder: Path, *, bare: bool) -> str:
    """Creates a folder with the programs that pages call, and returns it.

    Console scripts break if the checkout's path is long or has spaces.
    """
    folder.mkdir()
    programs = [("python", ""), ("django-admin", "-m django"), ("uvicorn", "-m uvicorn")]
    for name, module in [("python3", "")] if bare else programs:
        program = folder / name
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" {module} "$@"\n')
        program.chmod(0o755)
    return str(folder)


def _end(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wait_for_port(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    raise AssertionError(f"nothing listens on port {port}: {log.read_text()}")
