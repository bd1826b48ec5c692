"""Settings of a site with live pages."""

from __future__ import annotations

from tests.management.support.scratch import *  # noqa: F403
from tests.management.support.scratch import MIDDLEWARE as PLAIN

from .templates import templates

ROOT_URLCONF = "tests.pages.support.urls"
ALLOWED_HOSTS = ["127.0.0.1"]
DURABLE_STATE = {"FEED_POLL_SECONDS": 0.1}
MIDDLEWARE = [
    *PLAIN,
    "django.middleware.csrf.CsrfViewMiddleware",
    "durable_state.pages.LivePartMiddleware",
]
TEMPLATES = templates()
