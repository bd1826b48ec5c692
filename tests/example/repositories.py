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
        environment = os.environ | identity | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
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
