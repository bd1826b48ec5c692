"""Databases and queues on the servers that no other run uses."""

from __future__ import annotations

import os
from collections.abc import Iterator
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
import redis

from tests.servers.require import skip_or_fail
from tests.services import find, missing


@pytest.fixture
def postgres_url() -> Iterator[str]:
    """A PostgreSQL database of this test's own."""
    found = find("postgres")
    if found is None:
        skip_or_fail(missing["postgres"])
    url, name = urlsplit(found), f"durable_state_acceptance_{os.getpid()}"
    with psycopg.connect(urlunsplit(url._replace(path="/postgres")), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        yield urlunsplit(url._replace(path=f"/{name}"))
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def own_redis_url(redis_url: str) -> Iterator[str]:
    """A Redis database that is empty before and after the test."""
    for number in range(15, 0, -1):
        url = urlunsplit(urlsplit(redis_url)._replace(path=f"/{number}"))
        with redis.Redis.from_url(url) as client:
            if client.dbsize() == 0:
                yield url
                client.flushdb()
                return
    skip_or_fail("no database of the Redis server is empty")
