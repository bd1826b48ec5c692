"""Settings of a site with live pages."""

from __future__ import annotations

from tests.management.support.scratch import *  # noqa: F403
from tests.management.support.scratch import MIDDLEWARE as PLAIN
from tests.management.support.scratch import TEMPLATES as ONLY

from .templates import TEXTS

ROOT_URLCONF = "tests.pages.support.urls"
ALLOWED_HOSTS = ["127.0.0.1"]
DURABLE_STATE = {"FEED_POLL_SECONDS": 0.1}
MIDDLEWARE = [*PLAIN, "durable_state.pages.LivePartMiddleware"]
TEMPLATES = [
    ONLY[0]
    | {
        "APP_DIRS": False,
        "OPTIONS": ONLY[0]["OPTIONS"]
        | {
            "loaders": [
                ("django.template.loaders.locmem.Loader", TEXTS),
                "django.template.loaders.app_directories.Loader",
            ]
        },
    }
]
