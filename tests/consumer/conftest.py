"""What the consumer's tests share."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

import pytest

from durable_state.models import Stream
from tests.servers.require import skip_or_fail
from tests.services import missing

_numbers = count()


def _only(alias: str) -> Any:
    """Emptying all databases after each test would take longer than the tests."""
    return pytest.param(alias, marks=pytest.mark.django_db(transaction=True, databases=[alias]))


@pytest.fixture(params=[_only("default"), _only("postgres"), _only("mysql")])
def database(request: pytest.FixtureRequest) -> str:
    """The alias of one database after the other; the test may touch no other."""
    alias: str = request.param
    if alias in missing:
        skip_or_fail(missing[alias])
    return alias


@pytest.fixture(params=[_only("postgres"), _only("mysql")])
def server_database(request: pytest.FixtureRequest) -> str:
    """The same, for what only database servers do."""
    alias: str = request.param
    if alias in missing:
        skip_or_fail(missing[alias])
    return alias


@pytest.fixture(autouse=True)
def quick(settings: Any) -> None:
    """Leases short enough for a test to see them end."""
    settings.DURABLE_STATE = {"LEASE_SECONDS": 1}


@pytest.fixture(params=[_only("default"), _only("postgres")])
def file_or_server(request: pytest.FixtureRequest) -> str:
    """A database in a file, and one on a server: for tests that take long."""
    alias: str = request.param
    if alias in missing:
        skip_or_fail(missing[alias])
    return alias


@pytest.fixture
def add_stream() -> Callable[..., Stream]:
    """Make a stream that is consumed from a URL; the default is one that nobody asks."""

    def add(
        url: str = "http://tests.invalid/s", *, using: str = "default", **values: Any
    ) -> Stream:
        return Stream.objects.using(using).create(name=f"c{next(_numbers)}", url=url, **values)

    return add
