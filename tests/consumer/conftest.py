"""What the consumer's tests share."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

import pytest

from durable_state.models import Stream
from tests.databases import alias_of, only

_numbers = count()


@pytest.fixture(params=[only("postgres"), only("mysql")])
def server_database(request: pytest.FixtureRequest) -> str:
    """The alias of each database server in turn, for what only servers do."""
    return alias_of(request)


@pytest.fixture(params=[only("default"), only("postgres")])
def file_or_server(request: pytest.FixtureRequest) -> str:
    """A database in a file, and one on a server: for slow tests."""
    return alias_of(request)


@pytest.fixture(autouse=True)
def quick(settings: Any) -> None:
    """Leases short enough for a test to see them end."""
    settings.DURABLE_STATE = {"LEASE_SECONDS": 1}


@pytest.fixture
def add_stream() -> Callable[..., Stream]:
    """Creates a stream with the given URL; by default one that nobody requests."""

    def add(
        url: str = "http://tests.invalid/s", *, using: str = "default", **values: Any
    ) -> Stream:
        return Stream.objects.using(using).create(name=f"c{next(_numbers)}", url=url, **values)

    return add
