"""The command as its own process, with any database settings: `python -m
tests.environments.support.command DATABASES_AS_JSON SETTINGS_AS_JSON VERB ...`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.db import connections

from tests.consumer.support.project import set_up

__all__ = ["command", "run_command", "running"]


def command(database: dict[str, Any], ours: dict[str, Any], *verb: str) -> list[str]:
    """The command line of one verb."""
    module = "tests.environments.support.command"
    databases = json.dumps({"default": database})
    return [sys.executable, "-W", "error", "-m", module, databases, json.dumps(ours), *verb]


def run_command(database: dict[str, Any], ours: dict[str, Any], *verb: str) -> str:
    """The output of one verb. Raises: AssertionError, if it fails."""
    done = subprocess.run(
        command(database, ours, *verb), capture_output=True, text=True, cwd=ROOT, timeout=150
    )
    assert done.returncode == 0, f"{verb}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@contextmanager
def running(database: dict[str, Any], ours: dict[str, Any], *verb: str) -> Iterator[None]:
    """Runs a verb beside the block, then ends it by SIGTERM: it must succeed, without a
    traceback.
    """
    process = subprocess.Popen(
        command(database, ours, *verb),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
    )
    try:
        yield
    except AssertionError as error:
        error.add_note(f"ended with {process.poll()}")
        raise
    finally:
        process.terminate()
        try:
            printed, _ = process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            printed, _ = process.communicate()
            printed += "\nit did not end on SIGTERM"
    assert process.returncode == 0, printed
    assert "Error" not in printed, printed


ROOT = Path(__file__).parents[3]


def headers(stream: Any) -> dict[str, str]:
    """A HEADERS function that queries the database."""
    from durable_state.models import Stream

    return {"x-streams": str(Stream.objects.count())}


def main() -> None:
    """Runs the verb."""
    from django.core.management import call_command

    databases, ours, *verb = sys.argv[1:]
    set_up(json.loads(databases), json.loads(ours))
    call_command("durable_state", *verb)
    close_pools()


def close_pools() -> None:
    """A pool whose threads outlive the interpreter causes a warning."""
    for connection in connections.all(initialized_only=True):
        if getattr(connection, "pool", None):
            connection.close()
            connection.close_pool()  # type: ignore[attr-defined]


if __name__ == "__main__":
    main()
