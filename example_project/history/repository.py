"""Reads a git repository:
its first-parent history, commit by commit, and the tree that it must end in.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

__all__ = ["Commit", "NoHistory", "Repository", "Touched", "Tree"]

Tree = dict[str, tuple[str, str]]
"""Path to (mode, object id), as `git ls-tree -r` prints them."""


class NoHistory(Exception):
    """There is no git, no repository, or no commit in it; the text says which."""


@dataclass(frozen=True)
class Touched:
    """One path that a commit added,
    changed or deleted (``mode`` and ``blob`` are those before, then).
    """

    path: str
    mode: str
    blob: str
    added: bool = False
    deleted: bool = False


@dataclass(frozen=True)
class Commit:
    """One commit; ``authored_at`` is None where git's number is no date."""

    id: str
    email: str
    author: str
    authored_at: datetime | None
    subject: str
    touched: list[Touched] = field(default_factory=list)


class Repository:
    """The history behind HEAD of the repository that a folder belongs to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __str__(self) -> str:
        return f"the git history of {self.folder}"

    def head(self) -> str:
        """HEAD's commit id. Raises: NoHistory."""
        return self._run("rev-parse", "--verify", "--quiet", "HEAD^{commit}").decode().strip()

    def continues(self, old: str, new: str) -> bool:
        """Whether ``new`` was reached from ``old`` by adding commits to the branch,
        nothing rewritten or merged over.
        """
        try:
            added = self._run("rev-list", "--first-parent", f"{old}..{new}").decode().split()
            return bool(added) and self._run("rev-parse", f"{added[-1]}^").decode().strip() == old
        except NoHistory:
            return False

    def commits(self, new: str, after: str | None = None) -> Iterator[Commit]:
        """The branch's commits up to ``new``, oldest first, without those up to ``after``."""
        span = new if after is None else f"{after}..{new}"
        # The developer's own configuration must not change what is printed.
        git = [
            "git",
            "-C",
            str(self.folder),
            "-c",
            "log.showRoot=true",
            "-c",
            "log.showSignature=false",
            "-c",
            "log.mailmap=false",
        ]
        log = [
            "log",
            "-z",
            "--first-parent",
            "-m",
            "--reverse",
            "--raw",
            "--no-renames",
            "--no-abbrev",
            "--no-color",
            "--no-ext-diff",
        ]
        with subprocess.Popen(
            [*git, *log, "--format=%H%x00%ae%x00%an%x00%at%x00%s", span, "--"],
            stdout=subprocess.PIPE,
        ) as process:
            assert process.stdout is not None
            yield from _commits(_fields(process.stdout))
        if process.returncode:
            raise NoHistory(f"git log ended with {process.returncode} in {self.folder}")

    def tree(self, commit: str) -> Tree:
        """What `git ls-tree -r` prints for a commit."""
        tree = {}
        for line in self._run("ls-tree", "-r", "-z", "--full-tree", commit).split(b"\0"):
            if line:
                entry, path = line.split(b"\t", 1)
                mode, _, blob = entry.decode().split(" ")
                tree[_text(path)] = (mode, blob)
        return tree

    def _run(self, *arguments: str) -> bytes:
        try:
            return subprocess.run(
                ["git", "-C", str(self.folder), *arguments], check=True, capture_output=True
            ).stdout
        except FileNotFoundError as error:
            raise NoHistory("git is not installed") from error
        except subprocess.CalledProcessError as error:
            said = error.stderr.decode("utf-8", "replace").strip().splitlines()
            raise NoHistory(said[0] if said else f"there is no commit in {self.folder}") from error


def _text(raw: bytes) -> str:
    """A path or a subject as text.

    Bytes that are no UTF-8 stay distinguishable, so that no two paths become one.
    """
    return raw.decode("utf-8", "backslashreplace")


def _fields(stream: IO[bytes]) -> Iterator[bytes]:
    """The NUL-separated fields of git's output, without holding all of it."""
    rest = b""
    while chunk := stream.read(1 << 16):
        *complete, rest = (rest + chunk).split(b"\0")
        yield from complete
    if rest:
        yield rest


def _commits(fields: Iterator[bytes]) -> Iterator[Commit]:
    """Five fields of a commit, then a colon and a path for each path it touched;
    a commit id never begins with a colon.
    """
    commit: Commit | None = None
    for first in fields:
        begin = first.lstrip(b"\n")
        if begin.startswith(b":") and commit is not None:
            old_mode, mode, old_blob, blob, status = begin[1:].decode().split(" ")
            path = _text(next(fields))
            if status == "D":
                commit.touched.append(Touched(path, old_mode, old_blob, deleted=True))
            else:
                commit.touched.append(Touched(path, mode, blob, added=status == "A"))
        else:
            if commit is not None:
                yield commit
            email, author, at, subject = (next(fields) for _ in range(4))
            commit = Commit(begin.decode(), _text(email), _text(author), _date(at), _text(subject))
    if commit is not None:
        yield commit


def _date(seconds: bytes) -> datetime | None:
    try:
        return datetime.fromtimestamp(int(seconds), UTC)
    except (ValueError, OverflowError, OSError):
        return None
