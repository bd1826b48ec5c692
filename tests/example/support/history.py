"""The rows that a demo shows of a repository, and what git itself says."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path

from tests.repositories import ScratchRepository

__all__ = ["git_tree", "rows", "wait_for_rows"]


def rows(folder: Path) -> dict[str, tuple[str, str]]:
    """The file rows in a demo's database."""
    # A connection's own `with` ends a transaction and closes nothing.
    with closing(sqlite3.connect(folder / "db.sqlite3")) as database:
        return {
            path: (mode, blob)
            for path, mode, blob in database.execute("select path, mode, blob from history_file")
        }


def git_tree(repository: ScratchRepository) -> dict[str, tuple[str, str]]:
    """What git itself says, parsed independently of the demo's code."""
    lines = repository.git("ls-tree", "-r", "HEAD").splitlines()
    return {line.split("\t")[1].strip('"'): (line.split()[0], line.split()[2]) for line in lines}


def wait_for_rows(folder: Path, repository: ScratchRepository, seconds: float = 30) -> None:
    """Waits until the file rows are those of the repository's newest tree."""
    deadline = time.monotonic() + seconds
    while (found := rows(folder)) != git_tree(repository):
        assert time.monotonic() < deadline, found
        time.sleep(0.1)
