"""Python in a process of its own, where packages, settings and environment are what a test says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

__all__ = ["SCRAPE", "run_python"]

SCRAPE = """
import django
from django.conf import settings
settings.configure(
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "durable_state"],
    DATABASES={
        "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"},
        "away": {"ENGINE": "django.db.backends.sqlite3", "NAME": "/nonexistent/away.sqlite3"},
    },
    DURABLE_STATE={"METRICS_TOKEN": "t"},
)
django.setup()
from django.core.management import call_command
from django.test import RequestFactory
from durable_state.metrics import metrics
from durable_state.models import Stream
call_command("migrate", verbosity=0)
Stream.objects.create(name="chat", url="http://host.test/c")
request = RequestFactory().get("/", headers={"Authorization": "Bearer t"})
print(metrics(request).content.decode())
"""
"""Prints what is scraped from one database that is there, with a stream, and one that is not."""


def run_python(code: str, **environment: str) -> str:
    """What the process prints; it must end well."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=Path(__file__).parents[3],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
