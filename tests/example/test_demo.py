"""`make demo` does what it says, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import time
from pathlib import Path

import pytest

from tests.example.demo import CHECKOUT, alive, running
from tests.repositories import ScratchRepository


@pytest.fixture
def repository(tmp_path: Path) -> ScratchRepository:
    """A small repository to show."""
    made = ScratchRepository(tmp_path / "repository")
    made.fill(12)
    return made


def rows(folder: Path) -> dict[str, tuple[str, str]]:
    """The file rows in a demo's database."""
    with sqlite3.connect(folder / "db.sqlite3") as database:
        return {
            path: (mode, blob)
            for path, mode, blob in database.execute("select path, mode, blob from history_file")
        }


def git_tree(repository: ScratchRepository) -> dict[str, tuple[str, str]]:
    """What git itself says, parsed apart from the demo's own code."""
    lines = repository.git("ls-tree", "-r", "HEAD").splitlines()
    return {line.split("\t")[1].strip('"'): (line.split()[0], line.split()[2]) for line in lines}


def test_until_up_to_date(tmp_path: Path, repository: ScratchRepository) -> None:
    """It exits 0 with rows that equal `git ls-tree`, prints how many, and leaves no process; leftovers of an earlier run do not matter."""
    folder = tmp_path / "demo"
    (folder / "1").mkdir(parents=True)
    (folder / "1" / "db.sqlite3").write_text("the ruins of an earlier run")
    with running(folder, "--until-up-to-date", f"--repository={repository.folder}") as demo:
        demo.wait_for("Feeding")
        started = demo.descendants()
        assert demo.process.wait(90) == 0, demo.printed()
    tree = git_tree(repository)
    assert len(tree) > 10
    assert rows(folder / "1") == tree
    assert f"{len(tree)} file rows: equal to" in demo.printed()
    assert len(started) >= 2
    assert not alive(started)


def test_live_pages_then_ctrl_c(tmp_path: Path, repository: ScratchRepository) -> None:
    """It says where pages and admin are, follows new commits and rewritten ones, and Ctrl-C ends everything that it started."""
    with running(tmp_path / "demo", f"--repository={repository.folder}") as demo:
        demo.url()
        assert "login: admin, password: admin" in demo.printed()
        repository.write("new file", "1")
        repository.commit("Something new")
        wait_for_rows(tmp_path / "demo" / "1", repository)
        repository.git("mv", "new file", "otherwise")
        repository.git("commit", "-q", "--amend", "-m", "Something else")
        wait_for_rows(tmp_path / "demo" / "1", repository)
        started = demo.descendants()
        assert len(started) >= 6, (
            started
        )  # stream server, worker and its two processes, beat, web server
        assert demo.stop(signal.SIGINT) == 0, demo.printed()
        assert not alive(started)


def wait_for_rows(folder: Path, repository: ScratchRepository, seconds: float = 30) -> None:
    """Waits until the file rows are those of the repository's newest tree."""
    deadline = time.monotonic() + seconds
    while (found := rows(folder)) != git_tree(repository):
        assert time.monotonic() < deadline, found
        time.sleep(0.1)


def test_second_start_and_taken_ports(tmp_path: Path, repository: ScratchRepository) -> None:
    """While one runs, a second takes other files and other ports, says so, and gets it right too; SIGTERM ends the first."""
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        socket.create_server(("127.0.0.1", 0)) as also,
    ):
        ports = taken.getsockname()[1], also.getsockname()[1]
        with running(tmp_path / "demo", f"--repository={repository.folder}", ports=ports) as first:
            first.url()
            for port in ports:
                assert f"Port {port} is in use" in first.printed()
            with running(
                tmp_path / "demo", "--until-up-to-date", f"--repository={repository.folder}"
            ) as second:
                assert second.process.wait(90) == 0, second.printed()
            assert "Another demo is running; this one is number 2" in second.printed()
            assert rows(tmp_path / "demo" / "2") == git_tree(repository)
            started = first.descendants()
            assert first.stop(signal.SIGTERM) == 0
            assert not alive(started)


@pytest.mark.parametrize("name", ["worker", "beat"])
def test_death_of_a_child(tmp_path: Path, repository: ScratchRepository, name: str) -> None:
    """When one process dies the demo says which, ends the others, and fails."""
    with running(tmp_path / "demo", f"--repository={repository.folder}") as demo:
        demo.url()
        started = demo.descendants()
        # The worker's own child processes come after it.
        os.kill(
            next(pid for pid, args in sorted(started.items()) if f" {name} " in args),
            signal.SIGKILL,
        )
        assert demo.process.wait(30) == 1
        assert f"The {name} was ended by SIGKILL" in demo.printed()
        assert not alive(started)


def test_interrupted_before_the_end(tmp_path: Path, repository: ScratchRepository) -> None:
    """A run that is stopped before the tables were compared does not claim that they are equal."""
    with running(
        tmp_path / "demo", "--until-up-to-date", f"--repository={repository.folder}"
    ) as demo:
        demo.wait_for("Feeding")
        started = demo.descendants()
        assert demo.stop(signal.SIGINT) == 130
        assert "equal" not in demo.printed()
        assert not alive(started)


def test_wrong_rows_fail(tmp_path: Path, repository: ScratchRepository) -> None:
    """The comparison can fail: a row that differs is named, and the exit code is 1."""
    # The one place where the truth can be bent from outside: the `git` that the demo asks.
    git = tmp_path / "bin" / "git"
    git.parent.mkdir()
    real = next(
        f"{part}/git"
        for part in os.environ["PATH"].split(os.pathsep)
        if os.access(f"{part}/git", os.X_OK)
    )
    git.write_text(
        f'#!/bin/sh\n{real} "$@"\ncase "$*" in *ls-tree*) printf "100644 blob {"0" * 40}\\tnot there\\0";; esac\n'
    )
    git.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{git.parent}{os.pathsep}{os.environ['PATH']}")
        with running(
            tmp_path / "demo", "--until-up-to-date", f"--repository={repository.folder}"
        ) as demo:
            assert demo.process.wait(90) == 1, demo.printed()
    assert "not there: row is missing" in demo.printed()


def test_default_is_the_checkout(tmp_path: Path) -> None:
    """Without a repository named it shows this checkout, or the bundled history where that has no commits."""
    with running(tmp_path / "demo", "--until-up-to-date") as demo:
        assert demo.process.wait(90) == 0, demo.printed()
    assert (
        f"Feeding the git history of {CHECKOUT}" in demo.printed()
        or "Feeding the bundled history" in demo.printed()
    )
