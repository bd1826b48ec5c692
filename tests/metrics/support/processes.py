"""Python in a separate process, with the packages, settings and environment of a test."""

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
"""Prints the metrics of one database that exists, with a stream, and of one that does not."""


def run_python(code: str, **environment: str) -> str:
    """The output of the process, which must succeed."""
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
