"""PgBouncer in transaction mode gives a worker different sessions all the time, and nothing
stalls, leaks or is lost.
"""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from django.db import connections, transaction

from durable_state.checks import check_sessions
from durable_state.consumer.process_names import make_nonce, name_sessions
from durable_state.databases.callers import CallerState
from durable_state.databases.limits import SessionLimits
from durable_state.databases.sessions import end_sessions, is_session_working, limit_sessions
from durable_state.databases.transaction import commit_transaction
from durable_state.errors import OperationRefused
from durable_state.models import Seat, Status, Stream
from tests import private
from tests.consumer.support.consuming import wait_until
from tests.consumer.support.project import address
from tests.consumer.support.remote import RemoteStream, random_groups, random_items
from tests.leases import holders
from tests.servers.process import StreamServer
from tests.servers.require import skip_or_fail
from tests.services import find, missing
from tests.tables import check
from tests.wire import insert

from .support.command import ROOT, command, run_command

pytestmark = pytest.mark.django_db(transaction=True, databases=["postgres"])

SESSIONS = 3
"""Fewer than the threads of one consumer."""
OURS = {"HEADERS": "tests.environments.support.command.headers", "LEASE_SECONDS": 3}


@pytest.fixture(scope="module")
def pooler() -> Iterator[private.PrivateServer]:
    """Runs in front of the tests' PostgreSQL."""
    before = find("postgres")
    if before is None:
        skip_or_fail(missing["postgres"])
    try:
        server = private.pgbouncer(before, SESSIONS)
    except private.NotFound as error:
        skip_or_fail(str(error))
    yield server
    server.stop()


@pytest.fixture
def pooled(pooler: private.PrivateServer) -> dict[str, Any]:
    """The test database through it, as Django's documentation advises."""
    url = urlsplit(pooler.url)
    where = {"HOST": url.hostname, "PORT": url.port, "DISABLE_SERVER_SIDE_CURSORS": True}
    return address("postgres", **where)


@pytest.fixture
def borrowed(pooled: dict[str, Any]) -> Iterator[ThreadPoolExecutor]:
    """A thread whose connection goes through the pooler."""

    def go_through() -> None:
        settings = connections["postgres"].settings_dict | pooled
        connections["postgres"] = type(connections["postgres"])(settings, "postgres")

    with ThreadPoolExecutor(1, initializer=go_through) as thread:
        yield thread
        thread.submit(connections.close_all).result(20)


def add(url: str, name: str) -> Stream:
    return Stream.objects.using("postgres").create(name=name, url=url)


def ask(sql: str) -> Any:
    with connections["postgres"].cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()[0]


def test_every_verb(rakaia_server: StreamServer, pooled: dict[str, Any]) -> None:
    """Catch-up by COPY, a reset, and a verification, of everything that a stream can bring."""
    remote = RemoteStream(rakaia_server.stream())
    many = [insert("message", f"m{number}", {"text": "hi"}) for number in range(300)]
    for group in [many, *random_groups(random_items(7, 60), 1, 20)]:
        remote.append(group)
    stream = add(remote.url, "pooled")
    run_command(pooled, OURS, "sync", "pooled", "--until-up-to-date")
    run_command(pooled, OURS, "reset", "pooled", "--no-input")
    run_command(pooled, OURS, "sync", "pooled", "--until-up-to-date")
    run_command(pooled, OURS, "verify", "pooled")
    stream.refresh_from_db()
    assert stream.status == Status.LIVE


def test_seats_share_live_streams(
    rakaia_server: StreamServer, pooled: dict[str, Any], pooler: private.PrivateServer
) -> None:
    """Two seats with more threads than there are sessions: one is killed, the pooler itself
    stops and returns, and every event is shown once. Nothing is left set in the sessions.
    """
    remotes = [RemoteStream(rakaia_server.stream()) for _ in range(4)]
    streams = [add(remote.url, f"s{number}") for number, remote in enumerate(remotes)]

    def append(key: str) -> None:
        for remote in remotes:
            remote.append([insert("message", key, {"text": "hi"})])

    def is_live(count: int) -> bool:
        live = Stream.objects.using("postgres").filter(status=Status.LIVE, ordinal=count)
        return live.count() == len(streams)

    def run() -> subprocess.Popen[bytes]:
        line, silent = command(pooled, OURS, "run"), subprocess.DEVNULL
        return subprocess.Popen(line, cwd=ROOT, stdout=silent, stderr=silent)

    killed, survivor = run(), run()
    try:
        wait_until(lambda: Seat.objects.using("postgres").count() == 2, 60)
        append("a")
        wait_until(lambda: is_live(1), 60)
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        append("A")
        wait_until(lambda: is_live(2), 60)
        pooler.stop()
        append("ключ")
        pooler.start()
        wait_until(lambda: is_live(3), 60)
        survivor.terminate()
        assert survivor.wait(30) == 0
        assert not holders("postgres")
    finally:
        for process in (killed, survivor):
            process.kill()
            process.wait()
    for stream, remote in zip(streams, remotes, strict=True):
        check(stream, remote.items)

    for _ in range(SESSIONS):
        with psycopg.connect(pooler.url + str(pooled["NAME"]), autocommit=True) as anybodys:
            for name in ("application_name", "lock_timeout", "search_path"):
                set_to, usual = anybodys.execute(
                    "SELECT setting, reset_val FROM pg_settings WHERE name = %s", [name]
                ).fetchone() or ("?", "")
                assert set_to == usual


def test_a_frozen_commit_is_ended_by_its_name(borrowed: ThreadPoolExecutor) -> None:
    """The transaction carries name and limits, whichever session it gets."""
    name = name_sessions(make_nonce())
    borrowed.submit(limit_sessions, SessionLimits(f"{name}.0", 15)).result(20)

    def look() -> tuple[Any, Any]:
        with commit_transaction("postgres"):
            return ask("SHOW application_name"), ask("SHOW lock_timeout")

    assert borrowed.submit(look).result(20) == (f"{name}.0", "15s")
    # Outside of a commit, too.
    assert borrowed.submit(ask, "SHOW application_name").result(20) == f"{name}.0"
    assert borrowed.submit(ask, "SELECT txid_current_if_assigned() IS NULL").result(20)

    sleeping = borrowed.submit(ask, "SELECT pg_sleep(30)")
    wait_until(lambda: is_session_working("postgres", f"{name}.0"))
    assert end_sessions("postgres", name) == 1
    assert sleeping.exception(20) is not None


def test_a_check_tells_what_sessions_do_not_keep(
    borrowed: ThreadPoolExecutor, pooled: dict[str, Any]
) -> None:
    """Server-side cursors, and options that are set once for a connection."""

    def told(**changes: Any) -> list[str]:
        connections["postgres"].settings_dict |= changes
        return [each.msg for each in check_sessions(["postgres"])]

    assert borrowed.submit(told).result(20) == []
    (cursors,) = borrowed.submit(told, DISABLE_SERVER_SIDE_CURSORS=False).result(20)
    assert "cursors on the server" in cursors
    for threshold in (5, 0):  # 0: each statement at once
        kept = {"DISABLE_SERVER_SIDE_CURSORS": True, "OPTIONS": {"prepare_threshold": threshold}}
        (prepared,) = borrowed.submit(told, **kept).result(20)
        assert "prepare_threshold" in prepared
    # Without a pooler, none of this matters.
    assert check_sessions(["postgres"]) == []


def test_what_the_caller_has_set_is_refused(borrowed: ThreadPoolExecutor) -> None:
    """It would be set in sessions that others get next."""

    def set_and_look() -> None:
        with transaction.atomic(using="postgres"):
            ask("SELECT set_config('search_path', 'pg_catalog, public', true)")
            CallerState.of("postgres")

    with pytest.raises(OperationRefused, match="pooler"):
        borrowed.submit(set_and_look).result(20)
