"""Work that hangs: its stream is left to others, it is named, and nobody waits for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from django.db import connections, transaction

from durable_state import operations
from durable_state.models import Lease, Stream
from durable_state.signals import changes_committed
from tests.app.models import Message
from tests.app.state_mappings import ScoreMapping
from tests.servers.process import StreamServer
from tests.wire import insert

from .support.consuming import is_live, wait_until
from .support.operating import run_while
from .support.remote import RemoteStream

pytestmark = pytest.mark.django_db(transaction=True)

Add = Callable[..., Stream]


class Hanging:
    """Code of the project that does not return until it is told to."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.calls = 0

    def hang(self, *args: Any, **named: Any) -> None:
        """As a `prepare`, or a receiver."""
        self.calls += 1
        self.go_on.wait(60)


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    """Hangs for as long as the test runs."""
    code = Hanging()
    yield code
    code.go_on.set()


def is_given_back(stream: Stream) -> bool:
    """Whether nobody has the stream's lease."""
    return Lease.objects.using(stream.using).filter(pk=stream.pk, seat=None).exists()


@pytest.mark.parametrize("where", ["prepare", "receiver"])
def test_code_of_the_project_that_never_returns(
    file_or_server: str,
    where: str,
    reference_server: StreamServer,
    add_stream: Add,
    hanging: Hanging,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its stream is left to others, and the status names it; the others continue; SIGTERM waits
    for none of it, and the code is not called again while it hangs.
    """
    good, bad = (RemoteStream(reference_server.stream()) for _ in range(2))
    good.append([insert("message", "a", {"text": "one"})])
    bad.append([insert("score", "1", {"points": 1})])
    first = add_stream(good.url, using=file_or_server)
    second = add_stream(bad.url, using=file_or_server)

    def receive(*, stream: str, **named: Any) -> None:
        if stream == second.name:
            hanging.hang()

    if where == "prepare":
        monkeypatch.setattr(ScoreMapping, "prepare", hanging.hang)
    else:
        changes_committed.connect(receive)
    name = f"{__name__}.Hanging.hang" if where == "prepare" else f"{receive.__qualname__}"

    def look(held: ExitStack) -> None:
        wait_until(lambda: is_live(first))
        wait_until(lambda: is_given_back(second))
        report = operations.report(second)
        assert f"{name} has not returned for 1 s" in report.why
        assert report.stuck  # at once: another attempt does not help
        good.append([insert("message", "b", {"text": "two"})])
        wait_until(Message.objects.using(file_or_server).filter(key="b").exists, 3)
        assert hanging.calls == 1

    try:
        run_while(file_or_server, look)
    finally:
        changes_committed.disconnect(receive)


def test_rows_that_an_operator_has_locked_and_forgotten(
    server_database: str, reference_server: StreamServer, add_stream: Add, settings: Any
) -> None:
    """Of eight streams: the ninth continues, and SIGTERM still ends the process."""
    settings.DURABLE_STATE = {"LEASE_SECONDS": 10}
    remotes = [RemoteStream(reference_server.stream()) for _ in range(9)]
    streams = [add_stream(remote.url, using=server_database) for remote in remotes]
    rows = Stream.objects.using(server_database)

    def look(held: ExitStack) -> None:
        wait_until(lambda: all(is_live(stream) for stream in streams), 30)
        held.enter_context(transaction.atomic(using=server_database))
        list(rows.select_for_update().filter(pk__in=[each.pk for each in streams[:8]]))
        for number, remote in enumerate(remotes):
            remote.append([insert("message", f"k{number}", {"text": "new"})])
        wait_until(Message.objects.using(server_database).filter(key="k8").exists, 5)
        time.sleep(1.5)  # until all eight hang
        remotes[8].append([insert("message", "more", {"text": "new"})])
        wait_until(Message.objects.using(server_database).filter(key="more").exists, 5)

    run_while(server_database, look)


def test_status_says_who_has_locked_a_streams_row(
    server_database: str, reference_server: StreamServer, add_stream: Add, settings: Any
) -> None:
    """Whose transaction it is, and how to end it, if the server tells."""
    settings.DURABLE_STATE = {"LEASE_SECONDS": 3, "STUCK_SECONDS": 1}
    remote = RemoteStream(reference_server.stream())
    stream = add_stream(remote.url, using=server_database)
    rows = Stream.objects.using(server_database)

    def look(held: ExitStack) -> None:
        wait_until(lambda: is_live(stream), 30)
        held.enter_context(transaction.atomic(using=server_database))
        rows.select_for_update().get(pk=stream.pk)
        remote.append([insert("message", "a", {"text": "hi"})])
        problems: list[str] = []

        def tells() -> bool:
            report = operations.report(stream)
            problems.append(report.why)
            assert "locked" not in report.why or (report.status, report.stuck) == ("lagging", True)
            return "locked" in report.why

        wait_until(tells, 15)
        assert "cannot be committed" in problems[-1]
        if server_database == "postgres":
            with connections["postgres"].cursor() as cursor:
                cursor.execute("SELECT pg_backend_pid()")
                (session,) = cursor.fetchone()
            report = operations.report(stream)
            assert f"session {session} of " in report.why
            assert f"pg_terminate_backend({session})" in report.action

    run_while(server_database, look)
