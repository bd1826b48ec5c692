"""`make demo` does what it says, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from pathlib import Path

import httpx
import pytest

from example_project.demo import processes as demo_processes
from example_project.demo.processes import ChildDied, Processes
from tests.repositories import ScratchRepository

from .support.demo import CHECKOUT, Demo, alive, running
from .support.history import git_tree, rows, wait_for_rows


@pytest.fixture
def repository(tmp_path: Path) -> ScratchRepository:
    """A small repository to show."""
    made = ScratchRepository(tmp_path / "repository")
    made.fill(12)
    return made


def test_until_up_to_date(tmp_path: Path, repository: ScratchRepository) -> None:
    """It exits 0 with the rows of `git ls-tree`, leaves no process, and replaces an earlier run."""
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
    """It says where the pages are, follows new commits and rewritten ones, and Ctrl-C ends it
    all.
    """
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


def test_second_start_and_taken_ports(tmp_path: Path, repository: ScratchRepository) -> None:
    """While one runs, a second takes other files and ports, says so, and is correct too."""
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


def kill(demo: Demo, words: str) -> None:
    """Kills the process whose command line has the words, not its children."""
    started = sorted(demo.descendants().items())
    os.kill(next(pid for pid, args in started if words in args), signal.SIGKILL)


def test_what_dies_is_started_again(tmp_path: Path, repository: ScratchRepository) -> None:
    """Whichever process dies, the demo says so and restarts it, and the rows continue to follow."""
    with running(tmp_path / "demo", f"--repository={repository.folder}") as demo:
        url = demo.url()
        for number, (name, words) in enumerate(
            [("worker", " worker "), ("beat", " beat "), ("web server", "example_project.asgi")]
        ):
            kill(demo, words)
            demo.wait_for(f"The {name} was ended by SIGKILL; starting it again in 1 s")
            repository.write(f"after {name}", str(number))
            repository.commit(f"After the {name}")
            wait_for_rows(tmp_path / "demo" / "1", repository)
        wait_for_page(f"{url}/history/")

        started = demo.descendants()
        assert len(started) >= 6, started
        assert demo.stop(signal.SIGINT) == 0, demo.printed()
        assert not alive(started)


def wait_for_page(url: str, seconds: float = 30) -> None:
    """Waits until the web server answers."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            assert httpx.get(url, trust_env=False).status_code == 200
            return
        except httpx.TransportError:
            assert time.monotonic() < deadline
            time.sleep(0.1)


def test_death_of_the_stream_server(tmp_path: Path, repository: ScratchRepository) -> None:
    """Its streams are lost with it; the demo says so and feeds the history again."""
    with running(tmp_path / "demo", f"--repository={repository.folder}") as demo:
        demo.url()
        kill(demo, "rakaia:app")
        demo.wait_for("The stream server was ended by SIGKILL; starting it again in 1 s")
        demo.wait_for("Fed the history again")
        repository.write("after", "all")
        repository.commit("After all")
        wait_for_rows(tmp_path / "demo" / "1", repository, seconds=90)


def test_what_cannot_live_ends_the_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that dies again and again is given up, after waits that double."""
    monkeypatch.setattr(demo_processes, "FIRST_WAIT", 0.1)
    script = "import time; print('I cannot'); time.sleep(0.05); raise SystemExit(3)"
    with Processes(tmp_path, tmp_path, os.environ) as processes:
        processes.start_program("worker", [sys.executable, "-c", script])
        begun = time.monotonic()
        with pytest.raises(ChildDied, match=r"(?s)exit code 3, 5 times in a row.*I cannot"):
            tend_for(processes, 60)
    assert time.monotonic() - begun > 0.1 + 0.2 + 0.4 + 0.8
    assert (tmp_path / "worker.log").read_text().count("I cannot") == 5


def tend_for(processes: Processes, seconds: float) -> None:
    """Does what the demo does while it runs."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        processes.tend()
        time.sleep(0.02)


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
    # The one place where the truth can be falsified from outside: the `git` that the demo calls.
    git = tmp_path / "bin" / "git"
    git.parent.mkdir()
    real = next(
        f"{part}/git"
        for part in os.environ["PATH"].split(os.pathsep)
        if os.access(f"{part}/git", os.X_OK)
    )
    git.write_text(
        f'#!/bin/sh\n{real} "$@"\n'
        f'case "$*" in *ls-tree*) printf "100644 blob {"0" * 40}\\tnot there\\0";; esac\n'
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
    """Without a given repository it shows this checkout, or the bundled history if that has no
    commits.
    """
    with running(tmp_path / "demo", "--until-up-to-date") as demo:
        assert demo.process.wait(90) == 0, demo.printed()
    assert (
        f"Feeding the git history of {CHECKOUT}" in demo.printed()
        or "Feeding the bundled history" in demo.printed()
    )
