"""A project without Django's admin."""

from __future__ import annotations

import subprocess
import sys

CODE = """
from django.conf import settings
settings.configure(
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "durable_state"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
)
import django, sys
django.setup()
import durable_state.admin
assert durable_state.admin.__all__ == []
assert "django.contrib.admin" not in sys.modules
"""


def test_importing_the_admin_does_no_harm() -> None:
    """Nothing of Django's admin is imported or registered."""
    ran = subprocess.run(
        [sys.executable, "-c", CODE], capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 0, ran.stderr
