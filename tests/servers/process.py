"""A stream server that runs as its own process."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen
from uuid import uuid4

__all__ = ["StreamServer", "serving", "wait_until_it_answers"]


@dataclass(frozen=True)
class StreamServer:
    """The address of a server. A test that started it for itself may kill ``process``."""

    url: str
    process: subprocess.Popen[str]

    def stream(self, name: str = "") -> str:
        """The URL of a stream that no other test uses."""
        return f"{self.url}/v1/stream/{name or 's'}-{uuid4().hex[:12]}"


@contextlib.contextmanager
def serving(
    command: list[str], *, env: Mapping[str, str], cwd: Path, url: str = ""
) -> Iterator[StreamServer]:
    """Runs ``command`` until the block ends.

    Without ``url``, the first address that it prints is its URL. Its standard input is a pipe that
    closes when this process dies, so that it can end itself.
    """
    process = subprocess.Popen(
        command,
        env=dict(env),
        cwd=cwd,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE if not url else None,
    )
    try:
        if process.stdout is not None:
            # If it has files, the reference server first prints what it has found in them.
            told = (line.strip() for line in process.stdout)
            url = next((line for line in told if line.startswith("http://")), "")
        if not url:
            raise RuntimeError(f"{command[0]} ended with {process.wait(10)} before it served")
        wait_until_it_answers(url, process)
        yield StreamServer(url, process)
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


def wait_until_it_answers(url: str, process: subprocess.Popen[str], seconds: float = 20) -> None:
    """Returns once an HTTP request is answered, whatever the status."""
    until = time.monotonic() + seconds
    while process.poll() is None:
        try:
            with urlopen(f"{url}/v1/stream/nothing-here", timeout=2):
                return
        except URLError as error:
            if (status := getattr(error, "code", None)) is not None:
                error.close()  # type: ignore[attr-defined]
                assert status
                return
        except OSError:
            pass
        if time.monotonic() > until:
            raise RuntimeError(f"{url} did not answer within {seconds:g} s")
        time.sleep(0.05)
    raise RuntimeError(f"the server for {url} ended with {process.returncode}")
