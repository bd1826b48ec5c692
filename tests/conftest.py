"""Fixtures of the whole suite."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from celery.signals import setup_logging
from hypothesis import settings

from tests.databases import database, django_db_setup, no_connection_outlives_its_loop, using
from tests.servers.chromium import find_chromium
from tests.servers.fixtures import (
    misbehaving_server,
    rakaia_server,
    reference_server,
    stream_server,
)
from tests.servers.require import skip_or_fail
from tests.services import find, missing
from tests.writing import write_by_the_orm

__all__ = [
    "chromium_path",
    "database",
    "django_db_setup",
    "misbehaving_server",
    "no_connection_outlives_its_loop",
    "rabbitmq_url",
    "rakaia_server",
    "redis_url",
    "reference_server",
    "stream_server",
    "using",
    "writer",
]

# An example may take its time: a busy machine is not a fault of the code.
settings.register_profile("tests", deadline=None)
settings.load_profile("tests")


@setup_logging.connect
def leave_logging_alone(**_: object) -> None:
    """A Celery worker in this process would raise the level of the log for all later tests."""


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Ends a test that names missing databases before Django looks for them."""
    for marker in item.iter_markers("django_db"):
        for alias in marker.kwargs.get("databases") or ():
            if alias in missing:
                skip_or_fail(missing[alias])


@pytest.fixture(autouse=True)
def isolated_registry() -> Iterator[None]:
    """Undoes after each test what it registered and unregistered."""
    from durable_state.registry import registry  # not before Django is set up

    with registry.isolated():
        yield


@pytest.fixture(params=["fast", "orm"])
def writer(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Runs a test of rows twice: with the database's own fast writer, and with the ORM."""
    way: str = request.param
    if way == "orm":
        write_by_the_orm(monkeypatch)
    return way


def _broker(name: str) -> str:
    url = find(name)
    if url is None:
        skip_or_fail(missing[name])
    return url


@pytest.fixture(scope="session")
def redis_url() -> str:
    """The URL of a Redis that answers."""
    return _broker("redis")


@pytest.fixture(scope="session")
def rabbitmq_url() -> str:
    """The URL of a RabbitMQ that accepts us."""
    return _broker("rabbitmq")


@pytest.fixture(scope="session")
def chromium_path() -> str:
    """The path of a Chromium for playwright."""
    try:
        return find_chromium()
    except LookupError as error:
        skip_or_fail(str(error))
