"""Which servers the tests may use: environment variables first, then the usual loopback ports.

``available`` holds Django database settings by name, ``missing`` the reason why one is not there.
"""

from __future__ import annotations

import os
import socket
from typing import Any
from urllib.parse import urlsplit

available: dict[str, dict[str, Any]] = {}
missing: dict[str, str] = {}


def answers(host: str, port: int) -> bool:
    """Whether something listens there."""
    try:
        with socket.create_connection((host, port), timeout=0.5):
            return True
    except OSError:
        return False


def _database(name: str, engine: str, variable: str, default: str) -> None:
    url = urlsplit(os.environ.get(variable, default))
    host, port = url.hostname or "127.0.0.1", url.port or 0
    if not answers(host, port):
        missing[name] = f"no {name} at {host}:{port}; set {variable} to its URL"
        return
    available[name] = {
        "ENGINE": engine,
        "HOST": host,
        "PORT": port,
        "USER": url.username or "",
        "PASSWORD": url.password or "",
        "NAME": url.path.strip("/") or "durable_state",
    }


_database("postgres", "django.db.backends.postgresql", "DURABLE_STATE_POSTGRES_URL", "postgres://postgres@127.0.0.1:5432/durable_state")
_database("mysql", "django.db.backends.mysql", "DURABLE_STATE_MYSQL_URL", "mysql://root@127.0.0.1:3306/durable_state")
if "mysql" in available:
    available["mysql"]["OPTIONS"] = {"charset": "utf8mb4"}
    available["mysql"]["TEST"] = {"CHARSET": "utf8mb4", "COLLATION": "utf8mb4_bin"}
    try:
        import MySQLdb  # noqa: F401
    except ImportError:
        del available["mysql"]
        missing["mysql"] = "mysqlclient is not installed"
