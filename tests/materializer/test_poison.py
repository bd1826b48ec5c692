"""A bad row costs only itself; an error that is no row's fault costs the whole batch, and makes
no letter.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import DatabaseError, InterfaceError, OperationalError, ProgrammingError, connections
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

from durable_state.databases.faults import blames_a_row, is_outage
from durable_state.errors import TooManyDeadLetters
from durable_state.materializer.rows import rows
from durable_state.models import DeadLetter, FeedEntry, Stream
from durable_state.testing import apply
from tests.app.models import Author, File, Quota
from tests.wire import change

from .support.plans import forget_compiled

MANY = 10_000


@pytest.fixture
def attempts(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows each attempt to write sends."""
    sent: list[int] = []
    write = rows._write

    def counted(plan: Any, writes: Any) -> None:
        sent.append(len(writes))
        write(plan, writes)

    monkeypatch.setattr(rows, "_write", counted)
    return sent


def quotas(bad: set[int], count: int = MANY, start: int = 0) -> list[dict[str, Any]]:
    """Rows of which the bad ones violate a CHECK."""
    return [
        change("quota", str(i), inUse=99 if i in bad else 1) for i in range(start, start + count)
    ]


@pytest.mark.usefixtures("writer")
@pytest.mark.parametrize(
    "bad", [{0}, {MANY - 1}, {7_321}, {17, 5_000, 5_001}], ids=lambda bad: str(sorted(bad))
)
def test_a_bad_row_in_ten_thousand(using: str, bad: set[int], attempts: list[int]) -> None:
    """Found by bisection: a few times the rows of a clean batch, and a logarithmic number of
    savepoints.
    """
    apply("office", quotas(set(), 10, MANY), using=using)
    with CaptureQueriesContext(connections[using]) as clean:
        apply("office", quotas(set(), MANY, 2 * MANY), using=using)
    attempts.clear()
    with CaptureQueriesContext(connections[using]) as poisoned:
        apply("office", quotas(bad), using=using)
    assert sum(attempts) <= 3.1 * len(bad) * MANY
    assert len(attempts) <= 1 + 2 * 14 * len(bad)
    savepoints = [query for query in poisoned if "SAVEPOINT" in query["sql"]]
    assert len(savepoints) <= 3 * len(attempts) + 20
    assert len(poisoned) <= 4 * len(bad) * len(clean) + 6 * len(attempts)
    found = DeadLetter.objects.using(using).values_list("key", "reason")
    assert set(found) == {(str(number), "integrity") for number in bad}
    assert Quota.objects.using(using).count() == 2 * MANY + 10 - len(bad)


def test_a_flood_of_bad_rows(using: str, attempts: list[int]) -> None:
    """All are bad: the stream halts, nothing is committed, and the last reason is named; the
    others are not even searched for.
    """
    with override_settings(DURABLE_STATE={"DEAD_LETTER_LIMIT": 50}):
        with pytest.raises(TooManyDeadLetters, match=r"51 dead letters.*integrity"):
            apply("office", quotas(set(range(MANY))), using=using)
        assert len(attempts) <= 2 * 51 + 14
        assert Stream.objects.using(using).get(name="office").ordinal == 0
    assert not DeadLetter.objects.using(using).exists()


@pytest.fixture
def longer_in_the_model(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A column that is shorter than the mapping believes."""
    monkeypatch.setattr(File._meta.get_field("mode"), "max_length", 60)
    forget_compiled()
    yield
    forget_compiled()


def files(**modes: str) -> list[dict[str, Any]]:
    return [change("file", key, blob="b", mode=mode, commit="c") for key, mode in modes.items()]


@pytest.mark.usefixtures("writer", "longer_in_the_model")
@pytest.mark.django_db(transaction=True, databases=["default", "postgres", "mysql"])
@pytest.mark.parametrize(
    ("alias", "column", "right", "wrong"),
    [
        ("postgres", "VARCHAR(6)", "1", "1234567"),
        ("mysql", "VARCHAR(6)", "1", "1234567"),
        ("mysql", "DATE", "2024-02-29", "2024-02-30"),
        ("mysql", "DECIMAL(4, 0)", "1", "70000"),
        ("mysql", "DECIMAL(4, 0)", "1", "many"),
        ("mysql", "ENUM('1', '2')", "1", "3"),
    ],
)
def test_a_value_that_only_the_database_refuses(
    alias: str, column: str, right: str, wrong: str
) -> None:
    """It is the row's fault, whatever the driver calls the error."""
    with column_changed(alias, column):
        outcome = apply("h", files(a=right, b=wrong, c=right), using=alias)
        with connections[alias].cursor() as cursor:
            cursor.execute("SELECT path FROM app_file ORDER BY path")
            assert [path for (path,) in cursor.fetchall()] == ["a", "c"]
        File.objects.using(alias).all().delete()
    assert outcome == (2, 0, 1)
    letter = DeadLetter.objects.using(alias).get()
    assert (letter.key, letter.reason) == ("b", "data")


@contextmanager
def column_changed(alias: str, definition: str) -> Iterator[None]:
    """The column `mode` of files has another type; the table is empty."""
    alter = (
        "ALTER TABLE app_file ALTER COLUMN mode TYPE {}"
        if alias == "postgres"
        else "ALTER TABLE app_file MODIFY mode {}"
    )
    with connections[alias].cursor() as cursor:
        cursor.execute(alter.format(definition))
        try:
            yield
        finally:
            cursor.execute(
                alter.format("VARCHAR(6)" + ("" if alias == "postgres" else " NOT NULL"))
            )


def fails_whole(using: str, call: Callable[[], object], *, outage: bool) -> Exception:
    """The batch fails, and nothing of it remains: no row, no letter, no position, no entry of
    the feed.
    """
    name = "h"
    before = (
        Stream.objects.using(using).filter(name=name).values_list("ordinal", "revision").first()
    )
    with pytest.raises((DatabaseError, InterfaceError)) as failed:
        call()
    assert is_outage(failed.value) == outage, failed.value
    connections[using].close()
    assert not DeadLetter.objects.using(using).exists()
    after = Stream.objects.using(using).filter(name=name).values_list("ordinal", "revision").first()
    assert after == before
    assert FeedEntry.objects.using(using).count() == (before[1] if before else 0)
    return failed.value


PEOPLE = [change("author", "a", commits=1), *files(f="1", g="1")]
NEWS = [change("author", "a", commits=2), *files(f="2", g="2", h="2")]


def test_a_lost_permission(database: str) -> None:
    """Not the message's fault, and not an outage that passes by itself."""
    apply("h", PEOPLE, using=database)
    with deprived(database):
        fails_whole(database, lambda: apply("h", NEWS, using=database), outage=False)
    assert Author.objects.using(database).get().commits == 1
    assert apply("h", NEWS, using=database) == (4, 0, 0)


@contextmanager
def deprived(alias: str) -> Iterator[None]:
    """We are another user, who may do everything except write files."""
    connection = connections[alias]
    if alias == "default":
        connection.cursor().execute("PRAGMA query_only = ON")
        try:
            yield
        finally:
            connection.close()
        return
    name, host = connection.settings_dict["NAME"], "" if alias == "postgres" else "@'%'"
    user = f"limited_{name}"[-30:]
    if alias == "postgres":
        grants = [
            f"CREATE ROLE {user} LOGIN PASSWORD 'secret'",
            f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {user}",
            f"GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {user}",
            f"REVOKE INSERT, UPDATE ON app_file FROM {user}",
        ]
        undo = [f"DROP OWNED BY {user}", f"DROP ROLE {user}"]
    else:
        grants = [f"CREATE USER {user}{host} IDENTIFIED BY 'secret'"]
        tables = [table for table in connection.introspection.table_names() if table != "app_file"]
        grants += [f"GRANT ALL ON `{name}`.`{table}` TO {user}{host}" for table in tables]
        grants += [f"GRANT SELECT, DELETE ON `{name}`.app_file TO {user}{host}"]
        undo = [f"DROP USER {user}{host}"]
    with connection.cursor() as cursor:
        for statement in grants:
            cursor.execute(statement)
    kept = {key: connection.settings_dict[key] for key in ("USER", "PASSWORD")}
    connection.close()
    connection.settings_dict |= {"USER": user, "PASSWORD": "secret"}
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict |= kept
        with connection.cursor() as cursor:
            for statement in undo:
                cursor.execute(statement)


@pytest.mark.parametrize("alias", ["postgres", "mysql"])
@pytest.mark.django_db(transaction=True, databases=["default", "postgres", "mysql"])
def test_a_deadlock(alias: str) -> None:
    """A real one, with our transaction as its victim: it is retried, and succeeds."""
    apply("h", PEOPLE, using=alias)
    Author.objects.using(alias).bulk_create([Author(key=f"z{number}") for number in range(300)])
    has_file, ours_waits, done = threading.Event(), threading.Event(), threading.Event()

    def other() -> None:
        connection = connections.create_connection(alias)
        try:
            with connection.cursor() as cursor:
                if alias == "postgres":
                    cursor.execute(
                        "SET deadlock_timeout = '20s'"
                    )  # ours is checked first, and gives way
                cursor.execute("BEGIN")
                # Much to undo, so that MySQL too ends ours.
                cursor.execute("UPDATE app_author SET commits = 7 WHERE app_author.key LIKE 'z%'")
                cursor.execute("UPDATE app_file SET note = 'mine' WHERE path = 'f'")
                has_file.set()
                assert ours_waits.wait(10)
                time.sleep(0.3)
                cursor.execute("UPDATE app_author SET commits = 7 WHERE app_author.key = 'a'")
                cursor.execute("ROLLBACK")
        finally:
            connection.close()
            done.set()

    def watch(execute: Any, sql: str, *rest: Any) -> Any:
        if sql.startswith("UPDATE") and "app_file" in sql:
            ours_waits.set()
        return execute(sql, *rest)

    thread = threading.Thread(target=other)
    thread.start()
    try:
        assert has_file.wait(10)
        with connections[alias].execute_wrapper(watch):
            error = fails_whole(alias, lambda: apply("h", NEWS, using=alias), outage=True)
        assert "deadlock" in str(error).lower()
    finally:
        ours_waits.set()
        thread.join(30)
    assert done.is_set()
    assert Author.objects.using(alias).get(key="a").commits == 1
    assert apply("h", NEWS, using=alias) == (4, 0, 0)


@pytest.mark.django_db(transaction=True, databases=["default"])
def test_a_full_disk() -> None:
    """SQLite's file may not grow; with more room, the batch succeeds."""
    apply("h", PEOPLE)
    connection = connections["default"]
    news = [
        change("file", f"x{number}", blob="b", mode="m", commit="c" * 40) for number in range(3000)
    ]
    with connection.cursor() as cursor:
        cursor.execute("VACUUM")  # other tests have left free pages
        cursor.execute("PRAGMA page_count")
        (pages,) = cursor.fetchone()
        cursor.execute(f"PRAGMA max_page_count = {pages + 3}")
    error = fails_whole("default", lambda: apply("h", news), outage=True)
    assert "full" in str(error)
    assert apply("h", news) == (3000, 0, 0)


@pytest.mark.django_db(transaction=True, databases=["default", "postgres"])
def test_a_statement_that_takes_too_long() -> None:
    """The server ends it: an outage, and no message's fault."""
    apply("h", PEOPLE, using="postgres")

    def slow(execute: Any, sql: str, *rest: Any) -> Any:
        if sql.startswith("UPDATE") and "app_file" in sql:
            rest[-1]["cursor"].execute("SET LOCAL statement_timeout = '50ms'; SELECT pg_sleep(1)")
        return execute(sql, *rest)

    with connections["postgres"].execute_wrapper(slow):
        error = fails_whole("postgres", lambda: apply("h", NEWS, using="postgres"), outage=True)
    assert "timeout" in str(error)
    assert apply("h", NEWS, using="postgres") == (4, 0, 0)


def test_a_lost_connection(database: str) -> None:
    """In the middle of the batch."""
    apply("h", PEOPLE, using=database)
    connection = connections[database]
    if connection.vendor == "sqlite":
        pytest.skip("SQLite runs in the test's own process: there is no server to lose")

    def cut(execute: Any, sql: str, *rest: Any) -> Any:
        if sql.startswith("UPDATE") and "app_file" in sql:
            cursor = rest[-1]["cursor"]
            cursor.execute(
                "SELECT pg_backend_pid()" if database == "postgres" else "SELECT CONNECTION_ID()"
            )
            (pid,) = cursor.fetchone()
            killer = connections.create_connection(database)
            with killer.cursor() as cursor:
                cursor.execute(
                    f"SELECT pg_terminate_backend({pid})"
                    if database == "postgres"
                    else f"KILL {pid}"
                )
            killer.close()
        return execute(sql, *rest)

    def lose() -> None:
        with connection.execute_wrapper(cut):
            apply("h", NEWS, using=database)

    fails_whole(database, lose, outage=True)
    assert apply("h", NEWS, using=database) == (4, 0, 0)


@pytest.mark.parametrize("number", [1205, 1213, 2006, 2013, 1040, 1114])
def test_operational_errors_that_blame_no_row(number: int) -> None:
    """Waited too long, deadlocked, gone, lost, too many connections, full."""
    assert not blames_a_row(OperationalError(number, "x"))
    assert not blames_a_row(ProgrammingError(number, "x"))
    assert is_outage(OperationalError(number, "x"))
