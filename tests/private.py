"""Private servers for one test run, started from the binaries on this machine and ended with it.

Each function starts one. Raises: NotFound, or CalledProcessError and TimeoutError if the server
does not start.
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
from urllib.parse import unquote, urlsplit

__all__ = [
    "NotFound",
    "PrivateServer",
    "free_port",
    "mariadb",
    "pgbouncer",
    "postgres",
    "redis",
]

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
    """The path of the first program with one of these names. Raises: NotFound."""
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
    """The account to run database servers as, since they refuse to run as root. None if we are
    not root.
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


class PrivateServer:
    """A private server of this test run, which a test may stop and start again.

    It ends with the run. It keeps its folder and its port.
    """

    def __init__(
        self,
        command: Sequence[str],
        folder: Path,
        port: int,
        user: str | None,
        *,
        url: str,
        stop: signal.Signals,
    ) -> None:
        self.url = url
        self._command, self._folder, self._port, self._user = command, folder, port, user
        self._stop = stop
        self._process: subprocess.Popen[bytes] | None = None
        atexit.register(self.stop)
        self.start()

    def start(self) -> None:
        """Starts it, and waits until it listens. Raises: TimeoutError."""
        log = self._folder / "log"
        with log.open("ab") as output:
            self._process = process = subprocess.Popen(
                self._command,
                cwd=self._folder,
                user=self._user,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self._port), timeout=0.5).close()
                return
            except OSError:
                time.sleep(0.05)
        last = log.read_text(errors="replace").strip().splitlines()[-1:]
        name = Path(self._command[0]).name
        raise TimeoutError(f"{name} did not come up: {' '.join(last)}")

    def stop(self, by: signal.Signals | None = None) -> None:
        """Ends it, in its usual way or by that signal; waits until it has ended."""
        process = self._process
        if process is None or process.poll() is not None:
            return
        process.send_signal(by or self._stop)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def postgres() -> PrivateServer:
    """A PostgreSQL on a free port, its superuser `postgres` without a password, on loopback
    only.
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
    url = f"postgres://postgres@127.0.0.1:{port}/durable_state"
    return PrivateServer(command, folder, port, user, url=url, stop=signal.SIGINT)


def mariadb() -> PrivateServer:
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
    url = f"mysql://root@127.0.0.1:{port}/durable_state"
    return PrivateServer(command, folder, port, user, url=url, stop=signal.SIGTERM)


def redis() -> PrivateServer:
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
    url = f"redis://127.0.0.1:{port}/0"
    return PrivateServer(command, folder, port, None, url=url, stop=signal.SIGTERM)


def pgbouncer(before: str, size: int) -> PrivateServer:
    """A PgBouncer on a free port, in transaction mode: it lends ``size`` sessions of the server
    ``before`` which it runs to any number of clients.
    """
    server, port = program("pgbouncer"), free_port()
    user, url = _ordinary_user("postgres"), urlsplit(before)
    folder = _folder(user)
    password = f" password={unquote(url.password)}" if url.password else ""
    lines = [
        "[databases]",
        f"* = host={url.hostname} port={url.port or 5432} user={url.username}{password}",
        "[pgbouncer]",
        "listen_addr = 127.0.0.1",
        f"listen_port = {port}",
        f"unix_socket_dir = {folder}",
        "auth_type = any",
        "pool_mode = transaction",
        f"default_pool_size = {size}",
        "max_client_conn = 500",
    ]
    configuration = folder / "pgbouncer.ini"
    configuration.write_text("\n".join(lines) + "\n")
    if user is not None:
        shutil.chown(configuration, user)
    # SIGTERM ends it at once; SIGINT would wait for running transactions.
    url_of_it = f"postgres://{url.username}@127.0.0.1:{port}/"
    command = [server, str(configuration)]
    return PrivateServer(command, folder, port, user, url=url_of_it, stop=signal.SIGTERM)
