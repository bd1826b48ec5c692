"""Settings for commands that run as separate processes: a database in the directory SCRATCH."""

from __future__ import annotations

import os

from tests.settings import *  # noqa: F403

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.path.join(os.environ["SCRATCH"], "scratch.sqlite3"),
        "OPTIONS": {"timeout": 20},
    }
}
