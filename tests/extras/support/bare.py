"""Environments with nothing but the package as users install it, and a project in each."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

__all__ = [
    "CHECKOUT",
    "BareProject",
    "build_wheel",
    "clean_environment",
    "make_environment",
    "registry_is_missing",
    "run",
]

CHECKOUT = Path(__file__).resolve().parents[3]

MODELS = """
from django.db import models

class Note(models.Model):
    key = models.CharField(max_length=40, unique=True)
    text = models.TextField()
"""
MAPPINGS = """
from durable_state import EntityMapping, register
from .models import Note

@register("note")
class NoteMapping(EntityMapping):
    model = Note
    key_field = "key"
    fields = ["text"]
"""
CELERY = """
import os
from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")
app = Celery("mysite")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
"""


def clean_environment() -> dict[str, str]:
    """Returns the shell's variables without those of these tests."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("DJANGO_", "EXAMPLE_", "PYTHON"))
    }
    return kept | {"NO_PROXY": "127.0.0.1"}


def run(command: list[str], folder: Path, **environment: str) -> str:
    """Runs a command and returns its output. Raises: AssertionError, if it fails."""
    done = subprocess.run(
        command,
        cwd=folder,
        env=clean_environment() | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def registry_is_missing(folder: Path) -> str:
    """Returns why nothing can be installed here, or nothing if pip reaches a package registry."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-cache-dir"]
    done = subprocess.run([*command, "sqlparse"], cwd=folder, capture_output=True, text=True)
    return "pip reaches no package registry" if done.returncode else ""


def build_wheel(folder: Path) -> Path:
    """Builds what would be published, and returns the file: the wheel of the source archive."""
    run([sys.executable, "-m", "build", "--outdir", str(folder), str(CHECKOUT)], folder)
    (wheel,) = folder.glob("django_durable_state-*.whl")
    return wheel


def make_environment(folder: Path, *requirements: str) -> Path:
    """Creates a virtual environment with these requirements; returns its Python."""
    run(["sh", str(CHECKOUT / "scripts" / "make_venv"), str(folder), sys.executable], CHECKOUT)
    python = folder / "bin" / "python"
    run([str(python), "-m", "pip", "install", "--quiet", *requirements], folder)
    return python


class BareProject:
    """A new project with one app, one model and one mapping, in its own environment."""

    def __init__(self, folder: Path, python: Path, settings: str = "") -> None:
        self.folder = folder
        self.python = str(python)
        folder.mkdir()
        self.run("-m", "django", "startproject", "mysite", ".")
        self.run("manage.py", "startapp", "notes")
        (folder / "notes" / "models.py").write_text(MODELS)
        (folder / "notes" / "state_mappings.py").write_text(MAPPINGS)
        (folder / "mysite" / "celery.py").write_text(CELERY)
        with (folder / "mysite" / "settings.py").open("a") as file:
            file.write("INSTALLED_APPS += ['rest_framework', 'durable_state', 'notes']\n")
            file.write(settings)
        self.run("manage.py", "makemigrations", "notes")
        self.run("manage.py", "migrate")

    def run(self, *arguments: str) -> str:
        """Runs the environment's Python and returns its output."""
        return run([self.python, *arguments], self.folder)

    def notes(self) -> dict[str, str]:
        """The rows, queried from outside."""
        code = "from notes.models import Note; print(dict(Note.objects.values_list('key', 'text')))"
        printed: dict[str, str] = eval(self.run("manage.py", "shell", "-v", "0", "-c", code))
        return printed
