"""Which servers the tests may use:
environment variables first, then the usual loopback ports, then a private instance.

``available`` holds Django database settings by alias, ``missing`` the reason why a service is not
there. A service counts as there only when it lets us do what tests need. ``broker_url`` answers for
Redis and RabbitMQ. What is found is written back to the environment variables, so that the
processes that tests start use the same servers.
"""

from __future__ import annotations

import os
import sys
from functools import cache
from typing import Any
from urllib.parse import SplitResult, urlsplit

from tests import private

available: dict[str, dict[str, Any]] = {}
missing: dict[str, str] = {}

# A private server is started for a test run only, not for a type checker that imports the settings.
MAY_START = "pytest" in sys.modules
# Two test runs on one server must not drop each other's databases.
PROBE = f"durable_state_probe_{os.getpid()}"


def _probe_postgres(url: SplitResult) -> None:
    import psycopg

    with psycopg.connect(
        host=url.hostname,
        port=url.port or 5432,
        user=url.username,
        password=url.password,
        dbname="postgres",
        connect_timeout=3,
        autocommit=True,
    ) as connection:
        connection.execute(f"CREATE DATABASE {PROBE}")
        connection.execute(f"DROP DATABASE {PROBE}")


collations: dict[str, str] = {}


def _probe_mysql(url: SplitResult) -> None:
    import MySQLdb

    connection = MySQLdb.connect(
        host=url.hostname,
        port=url.port or 3306,
        user=url.username or "",
        password=url.password or "",
        connect_timeout=3,
    )
    try:
        cursor = connection.cursor()
        cursor.execute(f"CREATE DATABASE {PROBE}")
        cursor.execute(f"DROP DATABASE {PROBE}")
        # Keys that differ only in trailing spaces are distinguished by collations that do not pad.
        mariadb = "MariaDB" in connection.get_server_info()
        collations["mysql"] = "utf8mb4_nopad_bin" if mariadb else "utf8mb4_0900_bin"
    finally:
        connection.close()


def _probe_redis(url: SplitResult) -> None:
    import redis

    with redis.Redis.from_url(url.geturl(), socket_connect_timeout=3) as client:
        client.ping()


def _probe_rabbitmq(url: SplitResult) -> None:
    from kombu import Connection

    with Connection(url.geturl(), connect_timeout=3) as connection:
        connection.connect()


# service: (environment variable, usual address, a real use of it, a private instance or None)
SERVICES: dict[str, tuple[str, str, Any, Any]] = {
    "postgres": (
        "DURABLE_STATE_POSTGRES_URL",
        "postgres://postgres@127.0.0.1:5432/durable_state",
        _probe_postgres,
        private.postgres,
    ),
    "mysql": (
        "DURABLE_STATE_MYSQL_URL",
        "mysql://root@127.0.0.1:3306/durable_state",
        _probe_mysql,
        private.mariadb,
    ),
    "redis": ("DURABLE_STATE_REDIS_URL", "redis://127.0.0.1:6379/9", _probe_redis, private.redis),
    "rabbitmq": (
        "DURABLE_STATE_RABBITMQ_URL",
        "amqp://guest:guest@127.0.0.1:5672//",
        _probe_rabbitmq,
        None,
    ),
}


@cache
def find(name: str) -> str | None:
    """The URL of a service that works, or None; ``missing[name]`` then holds the reason, without
    the URL's password.
    """
    variable, usual, probe, start = SERVICES[name]
    given = os.environ.get(variable)
    url = urlsplit(given or usual)
    where = f"{url.hostname}:{url.port}"
    try:
        probe(url)
    except ImportError as error:
        missing[name] = f"{error.name} is not installed"
        return None
    except Exception as error:
        missing[name] = (
            f"{name} at {where} cannot be used ({str(error).strip().splitlines()[0]});"
            f" set {variable} to its URL"
        )
    else:
        os.environ[variable] = url.geturl()
        return url.geturl()
    if given or not MAY_START or start is None:
        return None
    try:
        started: str = start().url
        probe(urlsplit(started))
    except Exception as error:
        missing[name] += f"; and no private one: {error}"
        return None
    del missing[name]
    os.environ[variable] = started
    return started


def _database(alias: str, engine: str) -> None:
    found = find(alias)
    if found is None:
        return
    url = urlsplit(found)
    name = url.path.strip("/") or "durable_state"
    available[alias] = {
        "ENGINE": engine,
        "HOST": url.hostname,
        "PORT": url.port,
        "USER": url.username or "",
        "PASSWORD": url.password or "",
        "NAME": name,
        "TEST": {
            "NAME": f"test_{name}_{os.getpid()}",
            "DEPENDENCIES": [],
        },  # so that a test may ask for it alone
    }


_database("postgres", "django.db.backends.postgresql")
_database("mysql", "django.db.backends.mysql")
if "mysql" in available:
    available["mysql"]["OPTIONS"] = {"charset": "utf8mb4"}
    available["mysql"]["TEST"] |= {"CHARSET": "utf8mb4", "COLLATION": collations["mysql"]}
