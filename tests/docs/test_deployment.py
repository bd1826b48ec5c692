"""The files of docs/how-to/deploy.md are accepted by systemd, Docker and Compose, and start
existing programs.
"""

from __future__ import annotations

import configparser
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.management import load_command_class

from .support.pages import CHECKOUT, steps

FILES = {
    step.argument: step.text
    for step in steps(CHECKOUT / "docs/how-to/deploy.md")
    if step.verb == "file"
}
UNITS = sorted(name for name in FILES if name.endswith(".service"))
PROGRAMS = {"celery", "uvicorn", "python"}


def command_of(unit: str) -> list[str]:
    """The command that the unit starts."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[method-assign,assignment]
    parser.read_string(FILES[unit])
    return shlex.split(parser["Service"]["ExecStart"])


def commands() -> list[list[str]]:
    """All commands of the page, the program first, without its folder."""
    of_units = [command_of(unit) for unit in UNITS]
    of_containers = [
        re.findall(r'"([^"]*)"', line)
        for name in ("Dockerfile", "compose.yaml")
        for line in FILES[name].splitlines()
        if re.match(r"\s*(CMD|command:) ", line)
    ]
    return [[Path(program).name, *rest] for program, *rest in of_units + of_containers]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze")
@pytest.mark.parametrize("unit", UNITS)
def test_systemd_takes_the_unit(unit: str, tmp_path: Path) -> None:
    """Without a complaint, once the user and the program exist."""
    text = FILES[unit].replace("/srv/mysite/.venv/bin/", "/bin/true ").replace("mysite\n", "root\n")
    file = tmp_path / Path(unit).name
    file.write_text(text.replace("/srv/root", "/").replace("/srv/mysite", "/"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(file)], capture_output=True, text=True
    )
    told = [line for line in done.stderr.splitlines() if file.name in line]
    assert not told, done.stderr


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_a_command_is_one_that_there_is(command: list[str]) -> None:
    """Its program and options exist, and so does our verb."""
    program, *arguments = command
    assert program in PROGRAMS
    if program == "python":
        _, name, *rest = arguments
        load_command_class("durable_state", name).create_parser("manage.py", name).parse_args(rest)
        return

    subcommand = [each for each in arguments if each in ("worker", "beat")][:1]
    done = subprocess.run(
        [sys.executable, "-m", program, *subcommand, "--help"], capture_output=True, text=True
    )
    assert done.returncode == 0
    for option in (each.split("=")[0] for each in arguments if each.startswith("--")):
        assert option in done.stdout or option == "--app"


def test_workers_are_left_time_to_end() -> None:
    """In both variants."""
    for unit in UNITS:
        if "worker" in unit or "streams" in unit:
            assert "TimeoutStopSec=30" in FILES[unit]
    assert "stop_grace_period: 30s" in FILES["compose.yaml"]


def test_the_release_is_a_script() -> None:
    """The shell accepts it."""
    assert subprocess.run(["sh", "-n", "-c", FILES["deploy/release"]], check=False).returncode == 0
