"""Fixtures that provide one database after another, for conftests to load."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import pytest

from tests.servers.require import skip_or_fail
from tests.services import missing

__all__ = [
    "SessionsLeft",
    "alias_of",
    "database",
    "django_db_setup",
    "no_connection_outlives_its_loop",
    "only",
    "using",
]


def only(alias: str) -> Any:
    """A parameter that lets its test use one database: emptying all of them after each test
    would take longer than the tests.
    """
    return pytest.param(alias, marks=pytest.mark.django_db(transaction=True, databases=[alias]))


def _undone(alias: str) -> Any:
    return pytest.param(alias, marks=pytest.mark.django_db(databases=[alias]))


def alias_of(request: pytest.FixtureRequest) -> str:
    """The alias from the fixture's parameter, if that database is available."""
    alias: str = request.param
    if alias in missing:
        skip_or_fail(missing[alias])
    return alias


@pytest.fixture(params=[only("default"), only("postgres"), only("mysql")])
def database(request: pytest.FixtureRequest) -> str:
    """The alias of each database in turn; the test may use no other."""
    return alias_of(request)


@pytest.fixture(params=[_undone("default"), _undone("postgres"), _undone("mysql")])
def using(request: pytest.FixtureRequest) -> str:
    """The alias of each database in turn, rolled back after the test as in a TestCase: much
    faster than ``database``.
    """
    return alias_of(request)


@pytest.fixture(autouse=True)
def no_connection_outlives_its_loop(request: pytest.FixtureRequest) -> Iterator[None]:
    """Closes what an async test's database calls have opened in asgiref's single thread for all
    loops, since nobody else does.
    """
    yield
    if inspect.iscoroutinefunction(getattr(request.node, "obj", None)):
        from asgiref.sync import SyncToAsync
        from django.db import connections  # not before Django is set up

        SyncToAsync.single_thread_executor.submit(connections.close_all).result(10)


class SessionsLeft(pytest.PytestWarning):
    """Somebody still has a connection to a test database that is about to be dropped."""


@pytest.fixture(scope="session")
def django_db_setup(
    request: pytest.FixtureRequest, django_db_setup: None, django_db_blocker: Any
) -> Iterator[None]:
    """pytest-django's own; before the databases are dropped, remaining sessions are ended, and
    named.
    """
    yield
    from django.db import connections  # not before Django is set up

    with django_db_blocker.unblock():
        for connection in connections.all():
            ours = str(connection.settings_dict["NAME"]).startswith("test_")
            if not ours or connection.vendor != "postgresql":
                continue
            if left := _end_other_sessions(connection):
                told = f"sessions in {connection.alias} that were left, and are ended: {left}"
                request.node.warn(SessionsLeft(told))


def _end_other_sessions(connection: Any) -> list[str]:
    """Ends the sessions of others in the connection's database; returns what each did last."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pid, state, coalesce(state_change::text, ''), query, pg_terminate_backend(pid)"
            " FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        return [
            f"{pid} ({state} since {since}): {' '.join(query.split())[:200]}"
            for pid, state, since, query, _ in cursor.fetchall()
        ]
