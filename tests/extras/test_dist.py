"""What ``make dist`` builds is installed and used as a stranger would."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.servers.process import StreamServer
from tests.servers.require import skip_or_fail

from .support.bare import CHECKOUT, BareProject, make_environment, registry_is_missing, run
from .test_extras import send, write

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(600)]


def test_the_source_archive_installs(tmp_path: Path, rakaia_server: StreamServer) -> None:
    """From an empty environment to rows: startproject, an app, migrate, check, sync."""
    if reason := registry_is_missing(tmp_path):
        skip_or_fail(reason)
    run([sys.executable, "-m", "build", "--sdist", "--outdir", str(tmp_path), "."], CHECKOUT)
    (archive,) = tmp_path.glob("*.tar.gz")
    project = BareProject(tmp_path / "project", make_environment(tmp_path / "venv", str(archive)))
    assert project.run("manage.py", "check").startswith("System check identified no issues")

    url = rakaia_server.stream()
    send("PUT", url)
    write(url, "a", "first")
    project.run("manage.py", "durable_state", "add", "notes", url)
    project.run("manage.py", "durable_state", "sync", "notes", "--until-up-to-date")
    assert project.notes() == {"a": "first"}
    found = project.run("manage.py", "findstatic", "durable_state/live.js")
    assert "site-packages" in found
