"""The admin as its own process, and a browser that is signed in."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Page

from tests.servers.chromium import launched
from tests.servers.rakaia import free_port

__all__ = ["CHECKOUT", "Site", "browsing", "serving_admin"]

CHECKOUT = Path(__file__).parents[3]


class Site:
    """A running admin; with ``environment``, other processes use its database."""

    def __init__(
        self, url: str, process: subprocess.Popen[str], environment: dict[str, str]
    ) -> None:
        self.url = url
        self.process = process
        self.environment = environment

    def commit(self, *messages: dict[str, Any]) -> None:
        """Materializes messages of the stream "chat"; returns when the rows are there."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(messages) + "\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "done\n"

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """The output of the command ``durable_state``, as its own process."""
        return subprocess.run(
            [sys.executable, "-m", "django", "durable_state", *words],
            cwd=CHECKOUT,
            env=self.environment,
            text=True,
            capture_output=True,
            timeout=60,
            check=False,
        )

    @contextmanager
    def worker(self) -> Iterator[subprocess.Popen[str]]:
        """A running ``durable_state run``, which is killed at the end if it is still alive."""
        command = [sys.executable, "-m", "django", "durable_state", "run"]
        with subprocess.Popen(
            command, cwd=CHECKOUT, env=self.environment, text=True, stdout=subprocess.DEVNULL
        ) as process:
            try:
                yield process
            finally:
                process.kill()


@contextmanager
def serving_admin(
    scratch: Path, settings: str = "tests.admin.support.live_settings", port: int = 0
) -> Iterator[Site]:
    """Serves until the block ends; at ``port``, if one is given."""
    port = port or free_port()
    environment = os.environ | {"SCRATCH": str(scratch), "DJANGO_SETTINGS_MODULE": settings}
    with subprocess.Popen(
        [sys.executable, "-m", "tests.admin.support.serve", str(port)],
        cwd=CHECKOUT,
        env=environment,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        try:
            for _ in range(600):
                assert process.poll() is None
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.1)
            yield Site(f"http://127.0.0.1:{port}/admin/", process, environment)
        finally:
            process.terminate()


@contextmanager
def browsing(site: Site, chromium_path: str, *, keeps_pages: bool = False) -> Iterator[Page]:
    """A browser that is signed in; a script error fails the test."""
    with launched(chromium_path, keeps_pages=keeps_pages) as browser:
        page = browser.new_context().new_page()
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(f"{site.url}login/")
        page.fill("#id_username", "admin")
        page.fill("#id_password", "admin")
        page.click("[type=submit]")
        yield page
    assert errors == []
