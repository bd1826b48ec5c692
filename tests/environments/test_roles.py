"""Workers end each other's sessions without any grant; if they may not, a check says so."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import django.db
import pytest
from django.db import connections

from durable_state.checks import check_sessions
from durable_state.databases.limits import SessionLimits
from durable_state.databases.sessions import end_session, limit_sessions
from tests.consumer.support.consuming import wait_until
from tests.databases import alias_of, only

NAME = "durable_state roles.0"
ROLE = f"durable_state_{os.getpid()}"


@pytest.fixture(params=[only("postgres"), only("mysql")])
def server(request: pytest.FixtureRequest) -> Iterator[str]:
    """A database server with a user that has the tables, and no other rights."""
    alias = alias_of(request)
    name = connections[alias].settings_dict["NAME"]
    making = {
        "postgres": [
            f"DROP ROLE IF EXISTS {ROLE}",
            f"CREATE ROLE {ROLE} LOGIN PASSWORD 'secret'",
            f"GRANT ALL ON DATABASE {name} TO {ROLE}",
        ],
        "mysql": [
            f"DROP USER IF EXISTS {ROLE}",
            f"CREATE USER {ROLE} IDENTIFIED BY 'secret'",
            f"GRANT ALL ON {name}.* TO {ROLE}",
        ],
    }
    ending = {
        "postgres": [f"REVOKE ALL ON DATABASE {name} FROM {ROLE}", f"DROP ROLE {ROLE}"],
        "mysql": [f"DROP USER {ROLE}"],
    }
    run(alias, making[alias])
    yield alias
    run(alias, ending[alias])


def run(alias: str, statements: list[str]) -> None:
    with connections[alias].cursor() as cursor:
        for each in statements:
            cursor.execute(each)


def worker(alias: str, user: dict[str, Any], name: str = "") -> ThreadPoolExecutor:
    """A thread that works as that user, and whose sessions have that name."""

    def begin() -> None:
        if name:
            limit_sessions(SessionLimits(name, 100))
        settings = connections[alias].settings_dict | user
        connections[alias] = type(connections[alias])(settings, alias)

    return ThreadPoolExecutor(1, initializer=begin)


def test_a_user_ends_sessions_of_its_own(server: str) -> None:
    """Without a grant: the check reports nothing."""
    user = {"USER": ROLE, "PASSWORD": "secret"}
    with worker(server, user, NAME) as frozen, worker(server, user) as successor:
        try:
            frozen.submit(run, server, ["SELECT 1"]).result(20)
            assert successor.submit(check_sessions, [server]).result(20) == []
            assert successor.submit(end_session, server, NAME).result(20) == 1
            wait_until(lambda: is_over(frozen, server))
        finally:
            for each in (frozen, successor):
                each.submit(connections.close_all).result(20)


def is_over(frozen: ThreadPoolExecutor, server: str) -> bool:
    return isinstance(frozen.submit(run, server, ["SELECT 1"]).exception(20), django.db.Error)


@pytest.mark.parametrize("server", [only("postgres")], indirect=True)
def test_a_role_that_was_assumed_may_not(server: str) -> None:
    """The sessions belong to the role that has logged in; the check says what to grant."""
    user = {"OPTIONS": {"assume_role": ROLE}}
    with worker(server, user) as successor, worker(server, {}, NAME) as frozen:
        try:
            frozen.submit(run, server, ["SELECT 1"]).result(20)
            (told,) = successor.submit(check_sessions, [server]).result(20)
            assert told.id == "durable_state.W042"
            assert f'GRANT pg_signal_backend TO "{ROLE}"' in str(told.hint)
            with pytest.raises(django.db.ProgrammingError):
                successor.submit(end_session, server, NAME).result(20)
        finally:
            for each in (frozen, successor):
                each.submit(connections.close_all).result(20)
