"""A machine whose clock is wrong, or jumps, waits no longer than any other."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from django.utils import timezone

from durable_state.consumer.claiming import runnable
from durable_state.models import Lease, Status, Stream
from tests.servers.misbehaving import MisbehavingServer, Reply

from .support.consuming import consuming, wait_until

Add = Callable[..., Stream]


@pytest.mark.parametrize("hours", [-5, 5])
def test_a_wait_ends_by_the_clock_of_the_database(
    database: str,
    misbehaving_server: MisbehavingServer,
    add_stream: Add,
    monkeypatch: pytest.MonkeyPatch,
    hours: int,
) -> None:
    """Whichever machine has noted the failure, and whichever looks whether the wait is over."""
    misbehaving_server.replies(Reply(503))
    stream = add_stream(misbehaving_server.url + "/s", using=database)
    now, real = timezone.now, Stream.objects.using(database)

    def jumped() -> datetime:
        return now() + timedelta(hours=hours)

    with monkeypatch.context() as patch:
        patch.setattr(timezone, "now", jumped)
        with consuming(stream):
            wait_until(lambda: real.filter(status=Status.RETRYING, failures__gte=2).exists())
    found = real.get()
    assert found.retry_at is not None
    assert abs(found.retry_at - now()) < timedelta(seconds=90)

    Lease.objects.using(database).all().delete()
    real.update(paused=False, retry_at=now() - timedelta(seconds=5))
    with monkeypatch.context() as patch:
        patch.setattr(timezone, "now", jumped)
        assert runnable(database).exists()
        real.update(retry_at=now() + timedelta(minutes=5))
        assert not runnable(database).exists()
