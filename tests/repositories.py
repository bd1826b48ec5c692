"""Git repositories made for one test."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

__all__ = ["ScratchRepository"]


class ScratchRepository:
    """A repository whose author, dates and configuration do not depend on the machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.git("init", "-q", "-b", "main", ".")

    def git(self, *arguments: str) -> str:
        identity = {
            f"GIT_{who}_{what}": f"{what.lower()}@example.org"
            for who in ("AUTHOR", "COMMITTER")
            for what in ("NAME", "EMAIL")
        }
        environment = (
            os.environ | identity | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
        )
        command = ["git", "-c", "core.quotepath=true", *arguments]
        return subprocess.run(
            command, cwd=self.folder, env=environment, check=True, capture_output=True, text=True
        ).stdout.strip()

    def write(self, path: str, text: str) -> None:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")

    def commit(self, subject: str) -> str:
        """Commits everything and returns the commit id."""
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "--allow-empty-message", "-m", subject)
        return self.git("rev-parse", "HEAD")

    def fill(self, commits: int) -> None:
        """So many commits that add, change, rename and delete files."""
        for number in range(commits):
            self.write(f"folder {number % 7}/file-{number % 11}.txt", f"{number}\n")
            self.write(f"counter-{number % 3}", f"{number}\n")
            if number % 5 == 4:
                self.git("rm", "-q", "-r", "--ignore-unmatch", f"folder {(number + 2) % 7}")
            self.commit(f"Commit number {number}")

    def import_commits(self, commits: int) -> None:
        """A long history, written at once with git's own importer: every commit changes three
        files, some delete one.
        """
        lines: list[str] = []
        for number in range(commits):
            lines += [
                "commit refs/heads/main",
                (
                    f"committer Someone{number % 9} <{number % 9}@example.org>"
                    f" {1_700_000_000 + number * 60} +0100"
                ),
            ]
            lines += _data(f"Commit number {number}")
            for path in (
                f"a/{number % 501}.txt",
                f"b/{number % 13}/{number % 389}.txt",
                f"c {number % 7}.txt",
            ):
                lines += [f"M 100644 inline {path}", *_data(f"{path} in {number}")]
            if number % 10 == 9:
                lines.append(f"D a/{(number - 5) % 501}.txt")
        subprocess.run(
            ["git", "fast-import", "--quiet"],
            cwd=self.folder,
            input="\n".join([*lines, ""]).encode(),
            check=True,
        )


def _data(text: str) -> list[str]:
    return [f"data {len(text.encode())}", text]
