"""Settings of the site for the browser tests."""

from __future__ import annotations

from tests.management.support.scratch import *  # noqa: F403

ROOT_URLCONF = "tests.admin.support.urls"
ALLOWED_HOSTS = ["127.0.0.1"]
