"""A disk that is full is waited for: nothing is lost, and nobody has to do more than make room."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connections
from django.db.backends.signals import connection_created

from durable_state.models import DeadLetter, Status, Stream
from tests.app.models import Setting
from tests.servers.misbehaving import MisbehavingServer, StreamReplies
from tests.wire import encode, insert

from .support.consuming import consuming, wait_until

pytestmark = pytest.mark.django_db(transaction=True)

Add = Callable[..., Stream]


class Disk:
    """What is under a SQLite database: while it is full, the file cannot grow."""

    def __init__(self) -> None:
        self.is_full = False

    def limit(self, connection: Any, **kwargs: Any) -> None:
        """As large as it is by now is as large as it gets."""
        if self.is_full and connection.vendor == "sqlite":
            with connection.cursor() as cursor:
                cursor.execute("PRAGMA max_page_count = 1")


@pytest.fixture
def disk() -> Iterator[Disk]:
    """Limits each connection that is opened."""
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
    """No message is blamed for it, and no halt needs a person."""
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
