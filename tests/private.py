"""Private servers for one test run, started from the binaries on this machine and ended with it.

Each function starts one and returns its URL. Raises: NotFound, or CalledProcessError and
TimeoutError where the server does not come up.
"""

from __future__ import annotations

import atexit
import glob
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

__all__ = ["NotFound", "free_port", "mariadb", "postgres", "redis"]

# Where Debian keeps servers that are not on an ordinary user's PATH.
ELSEWHERE = [
    "/usr/sbin",
    "/usr/local/sbin",
    "/usr/libexec",
    *sorted(glob.glob("/usr/lib/postgresql/*/bin"), reverse=True),
]


class NotFound(Exception):
    """A program that is not on this machine."""


def program(*names: str) -> str:
    """The path of the first program of these names. Raises: NotFound."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *ELSEWHERE])
    for name in names:
        if found := shutil.which(name, path=path):
            return found
    raise NotFound(f"no {' or '.join(names)} on the PATH")


def free_port() -> int:
    """A loopback port that nothing listens on right now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def _ordinary_user(*candidates: str) -> str | None:
    """Database servers refuse to run as root: the account to run them as then.

    None where we are no root.
    """
    if os.geteuid() != 0:
        return None
    for name in (*candidates, "nobody"):
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            continue
    raise NotFound("no account but root to run the server as")


def _folder(user: str | None) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="durable-state-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    if user is not None:
        shutil.chown(folder, user)
    return folder


def _start(
    command: Sequence[str], folder: Path, port: int, user: str | None, *, stop: signal.Signals
) -> None:
    """Starts a server, waits until it listens, and has it stopped when this process ends."""
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            user=user,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )

    def end() -> None:
        process.send_signal(stop)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    atexit.register(end)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            socket.create_connection(("127.0.0.1", port), timeout=0.5).close()
            return
        except OSError:
            time.sleep(0.05)
    last = log.read_text(errors="replace").strip().splitlines()[-1:]
    raise TimeoutError(f"{Path(command[0]).name} did not come up: {' '.join(last)}")


def postgres() -> str:
    """A PostgreSQL on a free port,
    its superuser `postgres` without a password, on loopback only.
    """
    initdb, server = program("initdb"), program("postgres")
    user, port = _ordinary_user("postgres"), free_port()
    folder = _folder(user)
    made = [initdb, "-D", str(folder / "data"), "-U", "postgres", "-A", "trust"]
    made += ["-E", "UTF8", "--locale=C", "-N"]
    subprocess.run(made, check=True, cwd=folder, user=user, capture_output=True)
    command = [
        server,
        "-D",
        str(folder / "data"),
        "-p",
        str(port),
        "-h",
        "127.0.0.1",
        "-k",
        str(folder),
        "-c",
        "fsync=off",
    ]
    # SIGINT is PostgreSQL's fast shutdown: it ends sessions instead of waiting for them.
    _start(command, folder, port, user, stop=signal.SIGINT)
    return f"postgres://postgres@127.0.0.1:{port}/durable_state"


def mariadb() -> str:
    """A MariaDB on a free port, its `root` without a password, on loopback only."""
    install, server = program("mariadb-install-db", "mysql_install_db"), program("mariadbd")
    user, port = _ordinary_user("mysql"), free_port()
    folder = _folder(user)
    made = [install, "--no-defaults", f"--datadir={folder}/data"]
    made += ["--auth-root-authentication-method=normal", "--skip-test-db"]
    subprocess.run(made, check=True, cwd=folder, user=user, capture_output=True)
    command = [server, "--no-defaults", f"--datadir={folder}/data"]
    command += [f"--socket={folder}/socket", f"--pid-file={folder}/pid"]
    command += [f"--port={port}", "--bind-address=127.0.0.1"]
    _start(command, folder, port, user, stop=signal.SIGTERM)
    return f"mysql://root@127.0.0.1:{port}/durable_state"


def redis() -> str:
    """A Redis on a free port that keeps nothing on disk."""
    server, port = program("redis-server", "valkey-server"), free_port()
    folder = _folder(None)
    command = [
        server,
        "--port",
        str(port),
        "--bind",
        "127.0.0.1",
        "--save",
        "",
        "--dir",
        str(folder),
    ]
    _start(command, folder, port, None, stop=signal.SIGTERM)
    return f"redis://127.0.0.1:{port}/0"
