"""Settings of the example: SQLite and files, or the PostgreSQL and Redis that are named.

EXAMPLE_STATE_DIR      folder of all that the example writes; the demo makes a fresh one each time
EXAMPLE_STREAM_SERVER  base URL of the stream server
EXAMPLE_POSTGRES_URL   postgres://user:password@host:port/name instead of SQLite
EXAMPLE_REDIS_URL      redis://host:port/number, as channel layer and as Celery's broker
EXAMPLE_BROKER_URL     another broker for Celery: amqp://user:password@host:port//
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from kombu.transport import TRANSPORT_ALIASES

HERE = Path(__file__).resolve().parent
STATE_DIR = Path(os.environ.get("EXAMPLE_STATE_DIR", HERE / ".demo" / "1")).resolve()
STREAM_SERVER = os.environ.get("EXAMPLE_STREAM_SERVER", "http://127.0.0.1:4437").rstrip("/")
POSTGRES = urlsplit(os.environ.get("EXAMPLE_POSTGRES_URL", ""))
REDIS_URL = os.environ.get("EXAMPLE_REDIS_URL", "")
BROKER_URL = os.environ.get("EXAMPLE_BROKER_URL", REDIS_URL)

# This project runs on loopback only and keeps nothing of worth: the key is public, like the
# admin's password.
SECRET_KEY = "the example project keeps no secrets"
DEBUG = bool(os.environ.get("EXAMPLE_DEBUG"))
ALLOWED_HOSTS = ["127.0.0.1", "localhost", "[::1]"]

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "channels",
    "rest_framework",
    "durable_state",
    "example_project.history",
    "example_project.chat",
    "example_project.station",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "durable_state.pages.LivePartMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "example_project.urls"
ASGI_APPLICATION = "example_project.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [HERE / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
STATIC_URL = "/static/"
STATICFILES_DIRS: list[Path | tuple[str, Path]] = [HERE / "static"]
# The official JavaScript clients, where the tests' packages are installed: browsers load their
# modules as they are.
NPM = HERE.parent / "tests" / "interop" / "node_modules"
if NPM.is_dir():
    STATICFILES_DIRS.append(("npm", NPM))
USE_TZ = True
TIME_ZONE = "UTC"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
# A visitor's name is all that a session holds: no table, no write.
SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
# Two demos on two ports of one host share cookies by name; each has its own.
SESSION_COOKIE_NAME = f"example_session_{STATE_DIR.name}"
CSRF_COOKIE_NAME = f"example_csrf_{STATE_DIR.name}"

DATABASES: dict[str, dict[str, Any]]
if POSTGRES.hostname:
    DATABASES = {
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "HOST": POSTGRES.hostname,
            "PORT": POSTGRES.port or 5432,
            "USER": POSTGRES.username or "",
            "PASSWORD": POSTGRES.password or "",
            "NAME": POSTGRES.path.strip("/"),
        }
    }
else:
    STATE_DIR.mkdir(parents=True, exist_ok=True)
    DATABASES = {
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": STATE_DIR / "db.sqlite3",
            "OPTIONS": {
                # Readers go on while the worker writes; a writer waits for its turn from BEGIN on
                # instead of failing half-way.
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
                "transaction_mode": "IMMEDIATE",
                "timeout": 20,
            },
        }
    }

if REDIS_URL:
    CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
            "CONFIG": {"hosts": [REDIS_URL]},
        }
    }
else:
    # In memory: it does not cross processes, so the pages converge by the feed log in the database.
    CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}

if BROKER_URL:
    CELERY_BROKER_URL = BROKER_URL
else:
    # Files as a broker: nothing to install. It may lose or repeat a message when a process dies,
    # which `supervise` makes good. kombu's own `filesystem://` is not safe: see broker.py.
    TRANSPORT_ALIASES["files"] = "example_project.broker:Transport"
    CELERY_BROKER_URL = "files://"
    _queue = STATE_DIR / "queue"
    CELERY_BROKER_TRANSPORT_OPTIONS = {
        "data_folder_in": str(_queue),
        "data_folder_out": str(_queue),
        "control_folder": str(STATE_DIR / "control"),
        "polling_interval": 0.2,  # seconds between looks into the folder
    }
    for _folder in (_queue, STATE_DIR / "control"):
        _folder.mkdir(parents=True, exist_ok=True)

CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TASK_IGNORE_RESULT = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_BEAT_SCHEDULE = {
    # A beat that is not served within its interval is stale: the next one says the same.
    "supervise": {
        "task": "durable_state.tasks.supervise",
        "schedule": 2.0,
        "options": {"expires": 2.0},
    },
}

DURABLE_STATE = {
    "POLICY": "example_project.policy.EverybodyReads",
    "ALLOWED_URLS": [STREAM_SERVER + "/"],
    # Without a channel layer between the processes this is how long a page waits for news at most.
    "FEED_POLL_SECONDS": 0.25,
    # A worker that was killed is followed by another after this time.
    "LEASE_SECONDS": 10.0,
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
    "handlers": {"terminal": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["terminal"], "level": "INFO"},
    "loggers": {"httpx": {"level": "WARNING"}},
}
