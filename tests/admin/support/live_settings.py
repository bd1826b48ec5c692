"""Settings of the site that the browser's tests look at."""

from __future__ import annotations

from tests.management.support.scratch import *  # noqa: F403

ROOT_URLCONF = "tests.admin.support.urls"
ALLOWED_HOSTS = ["127.0.0.1"]
