"""Where the history comes from, as batches of State Protocol messages:
a git repository, or the short one that is bundled.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

from durable_state.protocol import encode_change, encode_control

from .repository import Commit, NoHistory, Repository, Tree

__all__ = ["BundledHistory", "GitHistory", "HistorySource", "find_history", "packed"]

BUNDLED = Path(__file__).with_name("bundled")


class HistorySource(Protocol):
    """``news`` gives the messages since it was last asked, a list for each commit;
    after them the files must equal ``tree``.
    """

    def news(self) -> Iterator[list[bytes]]: ...
    def tree(self) -> Tree: ...


class GitHistory:
    """The history of a repository, and of the commits that are added while we watch."""

    def __init__(self, repository: Repository) -> None:
        self.repository = repository
        self.head: str | None = None
        self.authors: dict[str, int] = {}

    def __str__(self) -> str:
        return str(self.repository)

    def news(self) -> Iterator[list[bytes]]:
        """The commits since the last call.

        A rewritten history begins with a `reset`: readers swap it in whole. Raises: NoHistory.
        """
        head = self.repository.head()
        if head == self.head:
            return
        after = self.head
        if after is not None and not self.repository.continues(after, head):
            after = None
            self.authors.clear()
            yield [encode_control("reset")]
        for commit in self.repository.commits(head, after):
            yield self._changes(commit)
        self.head = head

    def tree(self) -> Tree:
        """`git ls-tree -r` of the commit up to which news were given."""
        assert self.head is not None, "ask for news first"
        return self.repository.tree(self.head)

    def _changes(self, commit: Commit) -> list[bytes]:
        # A hash: addresses are nobody's business, and equal authors stay equal.
        author = hashlib.sha256(commit.email.encode()).hexdigest()[:12]
        count = self.authors[author] = self.authors.get(author, 0) + 1
        headers: dict[str, Any] = {"txid": commit.id}
        if commit.authored_at is not None:
            headers["timestamp"] = commit.authored_at.isoformat()
        changes = [
            encode_change(
                "author",
                author,
                "insert" if count == 1 else "update",
                {"name": commit.author, "commits": count},
                **headers,
            ),
            encode_change(
                "commit",
                commit.id,
                "insert",
                {
                    "author": author,
                    "subject": commit.subject,
                    "authoredAt": headers.get("timestamp"),
                },
                **headers,
            ),
        ]
        for touched in commit.touched:
            content = {"mode": touched.mode, "blob": touched.blob}
            if touched.deleted:
                changes.append(
                    encode_change("file", touched.path, "delete", old_value=content, **headers)
                )
            else:
                operation = "insert" if touched.added else "update"
                changes.append(
                    encode_change(
                        "file", touched.path, operation, content | {"commit": commit.id}, **headers
                    )
                )
        return changes


class BundledHistory:
    """A short history that lies in this folder, for a checkout without git:
    one line for each commit, and its tree.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        self.given = False

    def __str__(self) -> str:
        return f"the bundled history ({self.reason})"

    def news(self) -> Iterator[list[bytes]]:
        """The whole history, once."""
        if not self.given:
            self.given = True
            with (BUNDLED / "history.jsonl").open("rb") as lines:
                for line in lines:
                    yield [json.dumps(message).encode() for message in json.loads(line)]

    def tree(self) -> Tree:
        """`git ls-tree -r` of the repository that the history was made from."""
        tree = {}
        for line in (BUNDLED / "tree.txt").read_text(encoding="utf-8").splitlines():
            entry, path = line.split("\t", 1)
            mode, _, blob = entry.split(" ")
            tree[path] = (mode, blob)
        return tree


def find_history(folder: Path) -> HistorySource:
    """The history of the repository at ``folder``;
    the bundled one where there is no git, no repository or no commit.
    """
    repository = Repository(folder)
    try:
        repository.head()
    except NoHistory as error:
        return BundledHistory(str(error))
    return GitHistory(repository)


def packed(commits: Iterable[list[bytes]], size: int = 500) -> Iterator[list[bytes]]:
    """Joins the lists of neighbouring commits until they have ``size`` messages,
    so that one append carries many.
    """
    pack: list[bytes] = []
    for changes in commits:
        pack += changes
        if len(pack) >= size:
            yield pack
            pack = []
    if pack:
        yield pack
