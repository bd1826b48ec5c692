"""The history as messages: folding them gives `git ls-tree`, whatever the repository looks like."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path

import pytest

from example_project.history.repository import NoHistory, Repository, Tree
from example_project.history.source import BundledHistory, GitHistory, find_history, packed
from tests.repositories import ScratchRepository


def fold(commits: Iterable[list[bytes]], files: Tree | None = None) -> Tree:
    """The naive fold of the file entities."""
    files = {} if files is None else files
    for messages in commits:
        for message in map(json.loads, messages):
            if message["headers"].get("control") == "reset":
                files.clear()
            elif message["type"] == "file" and message["headers"]["operation"] == "delete":
                del files[message["key"]]
            elif message["type"] == "file":
                files[message["key"]] = (message["value"]["mode"], message["value"]["blob"])
    return files


@pytest.fixture
def scratch(tmp_path: Path) -> ScratchRepository:
    """An empty repository."""
    return ScratchRepository(tmp_path / "repository with spaces")


def test_odd_repository_folds_to_its_tree(scratch: ScratchRepository) -> None:
    """Renames, modes, links, merges,
    empty commits and names of every kind end in the tree that git prints.
    """
    scratch.write("plain.txt", "1")
    scratch.write("späße/ünïcode.txt", "2")
    scratch.commit("")
    scratch.write('line\nbreak "quoted"\t.txt', "3")
    scratch.write(":colon", "4")
    os.symlink("plain.txt", scratch.folder / "link")
    scratch.commit("A subject\x01 with odd \x02 characters")
    os.chmod(scratch.folder / "plain.txt", 0o755)
    scratch.git("mv", "späße/ünïcode.txt", "späße/moved.txt")
    scratch.commit("Rename and make executable")
    scratch.git("checkout", "-q", "-b", "side")
    scratch.git("rm", "-q", ":(literal):colon")
    scratch.commit("Delete on a branch")
    scratch.git("checkout", "-q", "main")
    scratch.write("main.txt", "5")
    scratch.commit("Go on")
    scratch.git("merge", "-q", "--no-ff", "-m", "Merge", "side")
    scratch.commit("Nothing at all")
    with open(os.fsencode(scratch.folder) + b"/not-\xff-utf8", "wb") as file:
        file.write(b"6")
    scratch.commit("A name that is no UTF-8")

    source = GitHistory(Repository(scratch.folder))
    folded = fold(source.news())

    assert folded == source.tree()
    assert len(folded) == int(scratch.git("ls-tree", "-r", "HEAD").count("\n")) + 1
    assert folded["späße/moved.txt"][0] == "100644"
    assert folded["plain.txt"][0] == "100755"
    assert folded["link"][0] == "120000"
    assert ":colon" not in folded


def test_news_continue_where_they_ended(scratch: ScratchRepository) -> None:
    """The next call yields just the commits since the first, and continues counting the authors."""
    scratch.write("a", "1")
    scratch.commit("One")
    source = GitHistory(Repository(scratch.folder))
    files = fold(source.news())
    assert list(source.news()) == []
    scratch.write("b", "2")
    scratch.commit("Two")

    [news] = source.news()

    authors = [message for message in map(json.loads, news) if message["type"] == "author"]
    assert [author["value"]["commits"] for author in authors] == [2]
    assert fold([news], files) == source.tree()


def test_rewritten_history_is_told_anew(scratch: ScratchRepository) -> None:
    """After an amended commit the stream is reset and begins again, and again equals the tree."""
    scratch.write("a", "1")
    scratch.commit("One")
    scratch.write("b", "2")
    scratch.commit("Two")
    source = GitHistory(Repository(scratch.folder))
    files = fold(source.news())
    scratch.git("mv", "b", "c")
    scratch.git("commit", "-q", "--amend", "-m", "Two, otherwise")

    news = list(source.news())

    assert json.loads(news[0][0]) == {"headers": {"control": "reset"}}
    assert fold(news, files) == source.tree() == {"a": files["a"], "c": files["c"]}


def test_foxtrot_merge_is_a_rewrite(scratch: ScratchRepository) -> None:
    """If our old head became a second parent, the first-parent history is another one."""
    scratch.write("a", "1")
    base = scratch.commit("Base")
    scratch.write("b", "2")
    ours = scratch.commit("Ours")
    source = GitHistory(Repository(scratch.folder))
    files = fold(source.news())
    scratch.git("checkout", "-q", "-b", "theirs", base)
    scratch.write("c", "3")
    scratch.commit("Theirs")
    scratch.git("merge", "-q", "--no-ff", "-m", "Foxtrot", ours)

    assert fold(source.news(), files) == source.tree()


def test_bundled_history_folds_to_its_tree() -> None:
    """The history for checkouts without git is complete."""
    source = BundledHistory("for this test")
    folded = fold(source.news())
    assert len(folded) > 5
    assert folded == source.tree()
    assert list(source.news()) == []


@pytest.mark.parametrize("commits", [False, None])
def test_bundled_history_stands_in(tmp_path: Path, commits: bool | None) -> None:
    """A folder that is not a repository, or a repository without a commit, gets the bundled
    history, with the reason.
    """
    folder = tmp_path / "x"
    if commits is None:
        folder.mkdir()
    else:
        ScratchRepository(folder)
    source = find_history(folder)
    assert isinstance(source, BundledHistory)
    assert source.reason in str(source)
    assert source.reason


def test_without_git_the_reason_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without git is distinguished from a folder without history."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoHistory, match="git is not installed"):
        Repository(tmp_path).head()


def test_packing_keeps_order_and_loses_nothing() -> None:
    """Appends carry many commits, in order."""
    commits = [[b"%d" % number] * (number % 4) for number in range(100)]
    packs = list(packed(commits, size=10))
    assert [message for pack in packs for message in pack] == [
        message for commit in commits for message in commit
    ]
    assert all(len(pack) >= 10 for pack in packs[:-1])
