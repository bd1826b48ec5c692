"""Settings of the site that the browser's tests look at."""

from __future__ import annotations

from tests.management.scratch import *  # noqa: F403

ROOT_URLCONF = "tests.admin.urls"
ALLOWED_HOSTS = ["127.0.0.1"]
