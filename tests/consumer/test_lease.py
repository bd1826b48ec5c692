"""Only one holder at a time, on the database's clock, and no holder for longer than it lives."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from django.db import connections
from django.utils import timezone

from durable_state.consumer import commit, lease, runnable
from durable_state.consumer.failures import record_failure, record_stop
from durable_state.consumer.process_names import is_known_dead
from durable_state.errors import LeaseLost, Unavailable
from durable_state.materializer import prepare_batch
from durable_state.models import Seat, Status, Stream
from durable_state.protocol import Position, decode
from durable_state.transport import Batch
from tests import leases
from tests.app.models import Message
from tests.wire import START, encode, insert

from .support.consuming import in_threads, wait_until

pytestmark = pytest.mark.django_db(transaction=True)

Add = Callable[..., Stream]


def test_a_lease_is_taken_kept_and_given_back(database: str, add_stream: Add) -> None:
    """The token grows with each holder, and an old token can neither renew nor release."""
    stream = add_stream(using=database)
    first = leases.acquire(stream, "elsewhere:1:a:x")
    assert first == 1
    assert leases.acquire(stream, "elsewhere:2:b:y") is None
    assert leases.renew(stream, first)
    leases.give_back(stream, first)
    second = leases.acquire(stream, "elsewhere:2:b:y")
    assert second == 2
    assert not leases.renew(stream, first)
    leases.give_back(stream, first)
    assert leases.acquire(stream, "elsewhere:3:c:z") is None
    assert leases.holders(database) == {"elsewhere:2:b:y"}


def test_of_many_at_once_one_gets_it(database: str, add_stream: Add) -> None:
    """Even if there was no lease before."""
    stream = add_stream(using=database)
    for token in (1, 2):
        tokens = in_threads(
            *(partial(leases.acquire, stream, f"elsewhere:{n}:test:{n}") for n in range(8))
        )
        assert sorted(tokens, key=str) == [token, *[None] * 7]
        leases.give_back(stream, token)


def test_it_expires_unless_it_is_renewed(database: str, add_stream: Add) -> None:
    """After LEASE_SECONDS on the database's clock, which nobody's own clock can shift."""
    stream = add_stream(using=database)
    token = leases.acquire(stream, "elsewhere:1:a:x")
    assert token is not None
    leases.let_pass(0.6, database)
    renewed_at = time.monotonic()
    assert leases.renew(stream, token)
    wait_until(runnable(database).filter(pk=stream.pk).exists)
    assert time.monotonic() - renewed_at > 0.9
    assert leases.acquire(stream, "elsewhere:2:b:y") == token + 1


def test_a_lease_that_was_renewed_is_nobody_elses(
    database: str, add_stream: Add, settings: Any
) -> None:
    """However long ago its first lease has expired."""
    settings.DURABLE_STATE = {"LEASE_SECONDS": 60}
    stream = add_stream(using=database)
    token = leases.acquire(stream, "elsewhere:1:a:x")
    assert token is not None
    for _ in range(3):
        leases.let_pass(40, database)
        assert leases.renew(stream, token)
        assert leases.acquire(stream, "elsewhere:2:b:y") is None
        assert not runnable(database).filter(pk=stream.pk).exists()
    leases.let_pass(61, database)
    assert leases.acquire(stream, "elsewhere:2:b:y") == token + 1


def test_sessions_in_another_time_zone_count_alike(server_database: str, add_stream: Add) -> None:
    """A lease lasts no hour longer or shorter, and its end is a moment that the status can use."""
    stream = add_stream(using=server_database)
    assert leases.acquire(stream, "elsewhere:1:a:x")
    statement = {"postgres": "SET TIME ZONE 'Asia/Tokyo'", "mysql": "SET time_zone = '+09:00'"}[
        server_database
    ]

    def elsewhere() -> Any:
        with connections[server_database].cursor() as cursor:
            cursor.execute(statement)
        assert leases.acquire(stream, "elsewhere:2:b:y") is None
        assert leases.renew(stream, 1)
        return lease.valid_leases(server_database).count()

    assert in_threads(elsewhere) == [1]
    expires_at = Seat.objects.using(server_database).get().expires_at
    assert abs((expires_at - timezone.now()).total_seconds()) < 2


def test_the_lease_of_a_dead_process_of_this_machine_is_taken_at_once(add_stream: Add) -> None:
    """Those of a living one, of one elsewhere, and of a container of the same name are not."""
    stream = add_stream()
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    ours = leases.name_process("sync")
    of_the_dead = ours.replace(f":{os.getpid()}:", f":{dead.pid}:")
    in_a_container = of_the_dead.replace(ours.split(":")[3][:8], "00000000")
    elsewhere = of_the_dead.replace(socket.gethostname(), "elsewhere")

    for holder in (ours, in_a_container, elsewhere):
        token = leases.acquire(stream, holder)
        assert leases.acquire(stream, "me:1:sync:y") is None
        leases.give_back(stream, token)
    assert leases.acquire(stream, of_the_dead) == 4
    assert leases.acquire(stream, "me:1:sync:y") == 5


def test_a_process_that_nobody_buries_is_dead() -> None:
    """In a container, the first process may never reap the others."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        name = leases.name_process("run").replace(f":{os.getpid()}:", f":{process.pid}:")
        assert is_known_dead(name)
    assert not is_known_dead(leases.name_process("run"))


@pytest.mark.parametrize("second", [insert("message", "b", {"text": "hi"}), START])
def test_who_slept_through_the_lease_commits_nothing(
    database: str, add_stream: Add, second: dict[str, Any]
) -> None:
    """The token is no longer the lease's, though the stream has not moved.

    Both for ordinary changes, which are committed directly, and for all others.
    """

    def commit_next(stream: Stream, message: dict[str, Any], token: int | None) -> int:
        ordinal = stream.ordinal
        prepared = prepare_batch(stream, [decode(encode(message))], ordinal)
        batch = Batch([], Position("o1", 0, ordinal + 1), True)
        return commit(stream, prepared, batch, token=token).revision

    stream = add_stream(using=database)
    old = leases.acquire(stream, "elsewhere:1:a:x")
    revision = commit_next(stream, insert("message", "a", {"text": "hi"}), old)

    sleeper = Stream.objects.using(database).get(pk=stream.pk)
    leases.let_pass(1.1, database)
    new = leases.acquire(stream, "elsewhere:2:b:y")
    with pytest.raises(LeaseLost):
        commit_next(sleeper, second, old)
    assert Stream.objects.using(database).get(pk=stream.pk).revision == revision
    assert Message.objects.using(database).get().key == "a"
    assert commit_next(stream, second, new) == revision + 1


def test_who_lost_the_lease_says_nothing_of_the_stream(database: str, add_stream: Add) -> None:
    """Its trouble is not that of its successor, whose status it would spoil for as long as the
    stream is quiet.
    """
    stream = add_stream(using=database)
    old = leases.acquire(stream, "elsewhere:1:a:x")
    assert old is not None
    record_failure(stream, old, Unavailable("a line that was cut"), 1, 0.1)
    assert Stream.objects.using(database).get().last_error == "a line that was cut"
    leases.give_back(stream, old)
    assert leases.acquire(stream, "elsewhere:2:b:y")
    record_failure(stream, old, Unavailable("he slept"), 1, 0.1)
    record_stop(stream, old, Unavailable("he slept"), Status.HALTED)
    now = Stream.objects.using(database).get()
    assert (now.last_error, now.status) == ("a line that was cut", Status.RETRYING)
