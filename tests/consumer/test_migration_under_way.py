"""A migration of a mapped model while workers run: they wait, and continue by themselves."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.db import connection, connections
from django.db.migrations.recorder import MigrationRecorder

from durable_state import operations
from durable_state.consumer import recovery
from durable_state.consumer.migration_advice import pending_migrations
from durable_state.models import DeadLetter, Status, Stream
from tests.servers.misbehaving import Asked, MisbehavingServer, Reply, StreamReplies
from tests.tables import check
from tests.wire import encode

from .support.consuming import consuming, wait_until
from .support.serving import ITEMS

Add = Callable[..., Stream]


@pytest.fixture(autouse=True)
def quick_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a test sees many of them."""
    monkeypatch.setattr("durable_state.transport.backoff.CAP", 0.05)
    monkeypatch.setattr(recovery, "SLOW_SECONDS", 0.3)


@pytest.mark.parametrize(
    ("there", "back"),
    [
        ("ALTER TABLE {} RENAME TO app_gone", "ALTER TABLE app_gone RENAME TO {}"),
        ("ALTER TABLE {} RENAME COLUMN text TO gone", "ALTER TABLE {} RENAME COLUMN gone TO text"),
    ],
    ids=["table", "column"],
)
def test_streams_go_on_once_the_tables_fit(
    database: str, misbehaving_server: MisbehavingServer, add_stream: Add, there: str, back: str
) -> None:
    """The status says what it waits for; no message is blamed, nothing is lost, nobody has to
    resume.
    """
    server = misbehaving_server
    groups = [[encode(item) for item in ITEMS[:40]]]

    def reply(asked: Asked) -> Reply:
        answer = StreamReplies(list(groups))(asked)
        if "live" in asked.query and answer.pieces == (b"[]",):
            return Reply(204, answer.headers, wait=0.25)
        return answer

    def alter(statement: str) -> None:
        with connections[database].cursor() as cursor:
            cursor.execute(statement.format("app_message"))

    server.reply = reply
    stream = add_stream(server.url + "/s", using=database, live="long-poll")
    now = Stream.objects.using(database)
    with consuming(stream):
        wait_until(lambda: now.get().status == Status.LIVE)
        alter(there)
        try:
            groups.append([encode(item) for item in ITEMS[40:]])
            wait_until(lambda: "Waiting for a migration" in now.get().last_error)
            wait_until(lambda: now.get().failures > recovery.ATTEMPTS + 3)
            report = operations.report(stream)
            assert report.status == Status.RETRYING
            assert "continues automatically" in report.action
            assert report.ordinal < 80
        finally:
            alter(back)
        wait_until(lambda: now.filter(ordinal=80, status=Status.LIVE).exists())
    assert not DeadLetter.objects.using(database).filter(reason="data").exists()
    check(stream, ITEMS)


@pytest.mark.django_db
def test_what_waits_to_be_applied_is_named() -> None:
    """So that whoever watches knows what to run."""
    assert pending_migrations("default") == []
    MigrationRecorder(connection).record_unapplied("durable_state", "0001_initial")
    assert pending_migrations("default") == ["durable_state.0001_initial"]
