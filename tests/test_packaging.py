"""The published archives hold what users need, and nothing else."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from email.parser import Parser
from pathlib import Path
from zipfile import ZipFile

import pytest

import durable_state

CHECKOUT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source archive, and the wheel built from it, as by ``make dist``."""
    folder = tmp_path_factory.mktemp("dist")
    _python("build", "--no-isolation", "--outdir", str(folder), str(CHECKOUT))
    return folder


def _python(module: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_an_index_would_take_it(dist: Path) -> None:
    """``twine check`` finds nothing, not even in the description."""
    printed = _python("twine", "check", "--strict", *map(str, dist.iterdir()))
    assert printed.count("PASSED") == 2


def test_the_wheel_holds_the_package(dist: Path) -> None:
    """Every file of durable_state, the license, and nothing of tests or the example."""
    (wheel,) = dist.glob("*.whl")
    with ZipFile(wheel) as archive:
        found = {name for name in archive.namelist() if ".dist-info/" not in name}
        (license_file,) = [name for name in archive.namelist() if name.endswith("/LICENSE")]
        assert archive.read(license_file) == (CHECKOUT / "LICENSE").read_bytes()
    package = CHECKOUT / "durable_state"
    wanted = {
        str(path.relative_to(CHECKOUT))
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert found == wanted
    for suffix in (
        "py.typed",
        "/migrations/0001_initial.py",
        "/live.js",
        "/admin/stream.html",
        "/de/LC_MESSAGES/django.mo",
    ):
        assert any(name.endswith(suffix) for name in found), suffix


def test_the_metadata_is_complete(dist: Path) -> None:
    """Name, version, license, versions of Python and Django, and a link."""
    (wheel,) = dist.glob("*.whl")
    with ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith("/METADATA")]
        told = Parser().parsestr(archive.read(name).decode())
    assert (told["Name"], told["Version"]) == ("django-durable-state", durable_state.__version__)
    assert (told["License-Expression"], told["License-File"]) == ("MIT", "LICENSE")
    classifiers = told.get_all("Classifier") or []
    for wanted in ("Framework :: Django :: 6.0", "Programming Language :: Python :: 3.13"):
        assert wanted in classifiers
    assert told.get_all("Project-URL")


def test_the_source_archive_can_be_worked_with(dist: Path) -> None:
    """It has the tests, the pages and the Makefile, and nothing that a run has left behind."""
    (archive,) = dist.glob("*.tar.gz")
    with tarfile.open(archive) as source:
        names = {name.partition("/")[2] for name in source.getnames()}
    assert {"Makefile", "SECURITY.md", "docs/tutorial.md", "tests/test_packaging.py"} <= names
    assert not [name for name in names if name.startswith((".venv", "build", "dist"))]
    assert not [name for name in names if "node_modules" in name or "__pycache__" in name]
