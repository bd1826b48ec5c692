"""A pool in the process lends its connections to more threads than it has, and nobody stalls."""

from __future__ import annotations

from typing import Any

import pytest

from durable_state.checks import check_sessions
from durable_state.databases.pooled import pool_size
from durable_state.models import Status, Stream
from tests.consumer.support.consuming import wait_until
from tests.consumer.support.project import address
from tests.consumer.support.remote import RemoteStream, random_groups, random_items
from tests.servers.process import StreamServer
from tests.tables import check
from tests.wire import insert

from .support.command import run_command, running

pytestmark = pytest.mark.django_db(transaction=True, databases=["postgres"])

HEADERS = "tests.environments.support.command.headers"


@pytest.fixture(params=[True, {"min_size": 1, "max_size": 2, "timeout": 5}])
def pooled(request: pytest.FixtureRequest, psycopg_pool: None) -> dict[str, Any]:
    """The test database through a pool: Django's usual one, and one that is too small."""
    return address("postgres", OPTIONS={"pool": request.param})


def add(url: str, name: str) -> Stream:
    return Stream.objects.using("postgres").create(name=name, url=url)


def test_every_verb(rakaia_server: StreamServer, pooled: dict[str, Any]) -> None:
    """Catch-up, reset and verification of everything that a stream can bring."""
    remote = RemoteStream(rakaia_server.stream())
    for group in random_groups(random_items(7, 60), 1, 20):
        remote.append(group)
    stream = add(remote.url, "pooled")
    ours = {"HEADERS": HEADERS, "BATCH_ROWS": 5}
    run_command(pooled, ours, "sync", "pooled", "--until-up-to-date")
    run_command(pooled, ours, "reset", "pooled", "--no-input")
    run_command(pooled, ours, "sync", "pooled", "--until-up-to-date")
    run_command(pooled, ours, "verify", "pooled")
    stream.refresh_from_db()
    assert stream.status == Status.LIVE


def test_many_live_streams(rakaia_server: StreamServer, pooled: dict[str, Any]) -> None:
    """Eight streams that all commit at the same time have few threads, and none waits long."""
    remotes = [RemoteStream(rakaia_server.stream()) for _ in range(8)]
    streams = [add(remote.url, f"s{number}") for number, remote in enumerate(remotes)]
    ours = {"HEADERS": HEADERS, "LEASE_SECONDS": 5}
    with running(pooled, ours, "run"):
        wait_until(lambda: all(is_live(stream) for stream in streams), 60)
        for key in ("a", "A", "ключ", "a"):
            for remote in remotes:
                remote.append([insert("message", key, {"text": "hi"})])
        wait_until(lambda: all(ordinal(stream) == 4 for stream in streams), 60)
    for stream, remote in zip(streams, remotes, strict=True):
        check(stream, remote.items)


def is_live(stream: Stream) -> bool:
    stream.refresh_from_db()
    return stream.status == Status.LIVE


def ordinal(stream: Stream) -> int:
    stream.refresh_from_db()
    return stream.ordinal


@pytest.mark.parametrize(
    ("pool", "size"),
    [
        (None, None),
        (False, None),
        (True, 4),
        ({"min_size": 2}, 2),
        ({"min_size": 2, "max_size": 9}, 9),
        ({"max_size": None}, 4),
    ],
)
def test_the_size_of_a_pool(pool: Any, size: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """As psycopg counts them."""
    from django.db import connections

    options = {} if pool is None else {"pool": pool}
    monkeypatch.setitem(connections.settings["postgres"], "OPTIONS", options)
    assert pool_size("postgres") == size
    monkeypatch.setattr("durable_state.checks.sessions._check_pooler", lambda alias: [])
    found = [each.id for each in check_sessions(["postgres"])]
    assert found == (["durable_state.W040"] if size == 2 else [])
