"""A full disk is waited for: nothing is lost, and nobody has to do more than make room."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import django.db
import pytest
from django.db import connections
from django.db.backends.signals import connection_created

from durable_state.models import DeadLetter, Status, Stream
from tests.app.models import Setting
from tests.servers.misbehaving import MisbehavingServer, StreamReplies
from tests.servers.require import skip_or_fail
from tests.wire import encode, insert

from .support.consuming import consuming, wait_until

pytestmark = pytest.mark.django_db(transaction=True)

Add = Callable[..., Stream]


class Disk:
    """The system calls below a SQLite database: while the disk is full, the file cannot grow."""

    def __init__(self) -> None:
        self.is_full = False

    def limit(self, connection: Any, **kwargs: Any) -> None:
        """From now on, the file cannot grow."""
        if self.is_full and connection.vendor == "sqlite":
            with connection.cursor() as cursor:
                cursor.execute("PRAGMA max_page_count = 1")


@pytest.fixture
def disk() -> Iterator[Disk]:
    """Limits each connection that is opened."""
    with connections["default"].cursor() as cursor:
        # Space that earlier tests have left free in the file would hold the rows without any
        # growth.
        cursor.execute("VACUUM")
    made = Disk()
    connection_created.connect(made.limit)
    yield made
    connection_created.disconnect(made.limit)
    connections["default"].close()


def test_a_full_disk_is_waited_for(
    disk: Disk,
    misbehaving_server: MisbehavingServer,
    add_stream: Add,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No message is blamed, and nobody has to resume the stream."""
    monkeypatch.setattr("durable_state.transport.backoff.CAP", 0.1)
    items = [insert("setting", f"s{number}", {"a": "x" * 2_000}) for number in range(500)]
    misbehaving_server.reply = StreamReplies([[encode(item) for item in items]], closed=True)
    stream = add_stream(misbehaving_server.url + "/s")
    disk.is_full = True
    with consuming(stream):
        wait_until(lambda: Stream.objects.get().failures >= 3)
        found = Stream.objects.get()
        assert found.status == Status.RETRYING
        assert "full" in found.last_error
        disk.is_full = False
        wait_until(lambda: Stream.objects.filter(status=Status.CLOSED).exists())
    assert Setting.objects.count() == 500
    assert not DeadLetter.objects.exists()


@contextmanager
def small_disk(kilobytes: int) -> Iterator[tuple[Path, Callable[[int], None]]]:
    """A disk of that size, and a function that makes it larger. Only root can have one."""
    folder = Path(tempfile.mkdtemp(prefix="durable-state-disk-"))

    def mount(size: int, *options: str) -> None:
        option = ",".join([f"size={size}k", "mode=0777", *options])
        command = ["mount", "-t", "tmpfs", "-o", option, "tmpfs", str(folder)]
        subprocess.run(command, check=True, capture_output=True)

    folder.chmod(0o755)
    try:
        mount(kilobytes)
    except (OSError, subprocess.CalledProcessError) as error:
        folder.rmdir()
        skip_or_fail(f"no disk can be made here: {error}")
    try:
        yield folder, lambda size: mount(size, "remount")
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
        folder.rmdir()


@pytest.fixture
def small_tablespace() -> Iterator[Callable[[int], None]]:
    """Settings for a small disk of the PostgreSQL server, and a function that makes it larger."""
    connection, name = connections["postgres"], f"durable_state_small_{os.getpid()}"
    with small_disk(600) as (disk, enlarge), connection.cursor() as cursor:
        try:
            shutil.chown(disk, "postgres")
            cursor.execute(f"CREATE TABLESPACE {name} LOCATION '{disk}'")
        except (django.db.Error, LookupError) as error:
            skip_or_fail(f"the server does not see our disks: {error}")
        try:
            cursor.execute(f"ALTER TABLE app_setting SET TABLESPACE {name}")
            yield enlarge
        finally:
            cursor.execute("ALTER TABLE app_setting SET TABLESPACE pg_default")
            cursor.execute(f"DROP TABLESPACE {name}")


@pytest.mark.django_db(transaction=True, databases=["postgres"])
def test_a_real_disk_that_is_full_is_waited_for(
    small_tablespace: Callable[[int], None],
    misbehaving_server: MisbehavingServer,
    add_stream: Add,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As the server reports it: the stream continues once there is room, and nothing is lost."""
    monkeypatch.setattr("durable_state.transport.backoff.CAP", 0.1)
    items = [insert("setting", f"s{n}", {"a": random.randbytes(1000).hex()}) for n in range(500)]
    misbehaving_server.reply = StreamReplies([[encode(item) for item in items]], closed=True)
    stream = add_stream(misbehaving_server.url + "/s", using="postgres")
    streams = Stream.objects.using("postgres")
    with consuming(stream):
        wait_until(lambda: streams.get().failures >= 3)
        found = streams.get()
        assert found.status == Status.RETRYING
        assert "No space left" in found.last_error
        small_tablespace(8_000)
        wait_until(lambda: streams.filter(status=Status.CLOSED).exists())
    assert Setting.objects.using("postgres").count() == 500
    assert not DeadLetter.objects.using("postgres").exists()
