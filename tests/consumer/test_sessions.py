"""The sessions of a worker's threads: none waits for long, and others can end them."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import django.db
import pytest
from django.db import connections, transaction
from django.test.utils import CaptureQueriesContext

from durable_state.consumer.failures import record_failure
from durable_state.databases.faults import is_outage
from durable_state.databases.limits import SessionLimits
from durable_state.databases.postgresql_sessions import limit_each_transaction
from durable_state.databases.sessions import (
    end_session,
    end_sessions,
    is_session_working,
    limit_sessions,
)
from durable_state.databases.transaction import commit_transaction
from durable_state.errors import Unavailable
from durable_state.models import Stream
from tests import leases

from .support.consuming import wait_until

Add = Callable[..., Stream]

NAME = "durable_state tests"


@contextlib.contextmanager
def worker(name: str = f"{NAME}.0", seconds: int = 1) -> Iterator[ThreadPoolExecutor]:
    """A thread with sessions like a worker's."""
    limits = SessionLimits(name, seconds)
    with ThreadPoolExecutor(1, initializer=limit_sessions, initargs=(limits,)) as thread:
        try:
            yield thread
        finally:
            thread.submit(connections.close_all).result(20)


@contextlib.contextmanager
def forgotten_lock(stream: Stream) -> Iterator[None]:
    """An operator's transaction that holds the stream's row, and stays open."""
    rows = Stream.objects.using(stream.using).select_for_update()
    with transaction.atomic(using=stream.using):
        rows.get(pk=stream.pk)
        yield


def ask(using: str, sql: str) -> Any:
    """The single value that a query returns."""
    with connections[using].cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()[0]


def test_a_statement_outside_of_any_transaction_waits_no_longer_either(
    server_database: str, add_stream: Add
) -> None:
    """What is recorded of a failure, while an operator holds the stream's row."""
    stream = add_stream(using=server_database)
    token = leases.acquire(stream, "elsewhere:1:a:x")
    assert token is not None
    with worker() as thread, forgotten_lock(stream):
        began = time.monotonic()
        noted = thread.submit(record_failure, stream, token, Unavailable("away"), 1, 1.0)
        with pytest.raises(django.db.OperationalError) as raised:
            noted.result(20)
    assert time.monotonic() - began < 4
    assert is_outage(raised.value)


def test_what_stands_still_in_a_transaction_is_ended(server_database: str, add_stream: Add) -> None:
    """Its locks are free before the lease ends."""
    stream = add_stream(using=server_database)
    is_locked, is_over = threading.Event(), threading.Event()

    def stand_still() -> None:
        with forgotten_lock(stream):
            is_locked.set()
            is_over.wait(20)
            Stream.objects.using(server_database).count()

    with worker() as thread:
        standing = thread.submit(stand_still)
        assert is_locked.wait(20)
        began = time.monotonic()
        Stream.objects.using(server_database).filter(pk=stream.pk).update(paused=True)
        assert time.monotonic() - began < 4
        is_over.set()
        with pytest.raises(django.db.Error):
            standing.result(20)


def test_a_commit_of_a_limited_session_begins_without_setting_limits(server_database: str) -> None:
    """They were set when it was opened; and it sees what others commit, whatever isolation level
    was set.
    """

    def begin() -> list[str]:
        with connections[server_database].cursor() as cursor:
            cursor.execute("SELECT 1")
        connection = connections[server_database]
        with CaptureQueriesContext(connection) as queries, commit_transaction(server_database):
            pass
        return [query["sql"] for query in queries]

    with worker() as thread:
        assert not [sql for sql in thread.submit(begin).result(20) if "timeout" in sql]
        level = "transaction_isolation" if server_database == "postgres" else "@@tx_isolation"
        if server_database == "mysql":
            assert thread.submit(ask, server_database, f"SELECT {level}").result(20) == (
                "READ-COMMITTED"
            )


@pytest.mark.parametrize("also_below", [False, True])
def test_a_session_is_ended_by_its_name(
    server_database: str, add_stream: Add, also_below: bool
) -> None:
    """Whatever it is doing, with its locks; the sessions of others continue."""
    stream = add_stream(using=server_database)
    is_locked, is_over = threading.Event(), threading.Event()

    def hold() -> None:
        with forgotten_lock(stream):
            is_locked.set()
            is_over.wait(20)
            ask(server_database, "SELECT 1")

    with worker(seconds=100) as frozen, worker("durable_state testsuite.0") as other:
        assert other.submit(ask, server_database, "SELECT 1").result(20) == 1
        holding = frozen.submit(hold)
        assert is_locked.wait(20)
        if also_below:
            assert end_sessions(server_database, NAME) == 1
        else:
            assert end_session(server_database, f"{NAME}.0") == 1
        Stream.objects.using(server_database).filter(pk=stream.pk).update(paused=True)
        is_over.set()
        with pytest.raises(django.db.Error) as raised:
            holding.result(20)
        assert is_outage(raised.value)
        assert other.submit(ask, server_database, "SELECT 1").result(20) == 1
        # The thread's next session has the same name again.
        frozen.submit(connections.close_all).result(20)
        assert frozen.submit(ask, server_database, "SELECT 2").result(20) == 2
        assert end_session(server_database, f"{NAME}.0") == 1
        wait_until(lambda: end_session(server_database, f"{NAME}.0") == 0)


def test_a_thread_that_lost_its_session_ends_it(server_database: str, add_stream: Add) -> None:
    """The server may keep it, and its locks, until it notices."""
    stream = add_stream(using=server_database)
    with worker(seconds=100) as first, worker(seconds=100) as second:
        lost = first.submit(forgotten_lock(stream).__enter__)
        lost.result(20)
        assert second.submit(ask, server_database, "SELECT 1").result(20) == 1
        Stream.objects.using(server_database).filter(pk=stream.pk).update(paused=True)
        with pytest.raises(django.db.Error):
            first.submit(ask, server_database, "SELECT 1").result(20)
        first.submit(_give_up, server_database).result(20)


def _give_up(using: str) -> None:
    connection = connections[using]
    connection.in_atomic_block = False
    connection.close()


def test_whether_the_server_works_for_a_session(server_database: str) -> None:
    """It does while a statement runs; not while it waits for the client."""
    sleep = "SELECT pg_sleep(30)" if server_database == "postgres" else "SELECT SLEEP(30)"
    name = f"{NAME}.0"
    with worker(name) as thread:
        assert not is_session_working(server_database, name)
        thread.submit(ask, server_database, "SELECT 1").result(20)
        assert not is_session_working(server_database, name)
        working = thread.submit(ask, server_database, sleep)
        wait_until(lambda: is_session_working(server_database, name))
        assert end_session(server_database, name) == 1
        with contextlib.suppress(django.db.Error):  # there, an interrupted sleep is not an error
            working.result(20)


@pytest.mark.django_db(transaction=True, databases=["postgres"])
def test_a_session_that_others_use_too_is_left_as_it_is(add_stream: Add) -> None:
    """Each transaction is limited and named by itself, and so is each statement outside of one."""
    stream = add_stream(using="postgres")
    token = leases.acquire(stream, "elsewhere:1:a:x")
    assert token is not None

    def borrow() -> None:
        limit_each_transaction(connections["postgres"], SessionLimits(f"{NAME}.0", 1))

    def look() -> None:
        with commit_transaction("postgres"):
            assert ask("postgres", "SHOW application_name") == f"{NAME}.0"
            assert ask("postgres", "SHOW lock_timeout") == "1s"
        connections["postgres"].execute_wrappers.clear()
        assert ask("postgres", "SHOW application_name") != f"{NAME}.0"
        assert ask("postgres", "SHOW lock_timeout") == "0"

    with ThreadPoolExecutor(1) as thread:
        thread.submit(borrow).result(20)
        with forgotten_lock(stream):
            noted = thread.submit(record_failure, stream, token, Unavailable("away"), 1, 1.0)
            with pytest.raises(django.db.OperationalError):
                noted.result(20)
        thread.submit(look).result(20)
        thread.submit(connections.close_all).result(20)


@pytest.fixture
def table_of_which_the_server_knows_little() -> Iterator[str]:
    """Statistics were made while all its rows had one name; then each got another."""
    table = "durable_state_tests_names"
    with connections["mysql"].cursor() as cursor:
        cursor.execute(f"DROP TABLE IF EXISTS {table}")
        cursor.execute(
            f"CREATE TABLE {table}"
            " (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(40), KEY (name))"
            " ENGINE=InnoDB STATS_PERSISTENT=1 STATS_AUTO_RECALC=0"
        )
        cursor.executemany(f"INSERT INTO {table} (name) VALUES (%s)", [["one"]] * 5000)
        cursor.execute(f"ANALYZE TABLE {table}")
        cursor.fetchall()
        cursor.execute(f"UPDATE {table} SET name = CONCAT('name ', id)")
        yield table
        cursor.execute(f"DROP TABLE {table}")


@pytest.mark.django_db(transaction=True, databases=["mysql"])
def test_many_keys_are_looked_up_by_their_index(
    table_of_which_the_server_knows_little: str,
) -> None:
    """Otherwise the server would read the whole index for each list."""
    names = [f"name {number}" for number in range(500)]
    places = ", ".join(["%s"] * len(names))

    def plan() -> str:
        table = table_of_which_the_server_knows_little
        with connections["mysql"].cursor() as cursor:
            cursor.execute(f"EXPLAIN SELECT id FROM {table} WHERE name IN ({places})", names)
            columns = [column[0] for column in cursor.description]
            return str(dict(zip(columns, cursor.fetchone(), strict=True))["type"])

    assert plan() == "index"
    with worker() as thread:
        assert thread.submit(plan).result(20) == "range"
