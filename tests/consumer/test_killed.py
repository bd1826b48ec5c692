"""A worker that is killed anywhere, again and again, and restarted at once, loses nothing and
does nothing twice.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable

import pytest

from durable_state.models import Status, Stream
from tests.servers.process import StreamServer
from tests.tables import check

from .support.consuming import start_worker
from .support.remote import RemoteStream, random_groups, random_items

pytestmark = pytest.mark.django_db(transaction=True)

KILLS = 4


def test_killed_again_and_again(
    file_or_server: str, reference_server: StreamServer, add_stream: Callable[..., Stream]
) -> None:
    """Each new process takes the lease of the dead one at once, and continues from its last
    commit.
    """
    remote = RemoteStream(reference_server.stream())
    for group in random_groups(random_items(42, 300), 1, 60):
        remote.append(group)
    stream = add_stream(remote.url, using=file_or_server)
    chance = random.Random()
    for _ in range(KILLS):
        process = start_worker(stream, BATCH_ROWS=2)
        before = stream.ordinal
        until = time.monotonic() + 20
        while process.poll() is None and stream.ordinal == before:
            assert time.monotonic() < until, "it does not begin"
            time.sleep(0.005)
            stream.refresh_from_db()
        time.sleep(chance.uniform(0, 0.06))
        process.kill()
        process.communicate()
        stream.refresh_from_db()
        assert stream.ordinal > before or before == 300
    started = time.monotonic()
    process = start_worker(stream, BATCH_ROWS=2)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "300 messages:" in out
    assert time.monotonic() - started < 20
    check(stream, remote.items)
    assert stream.status == Status.LIVE
