"""A server rings over HTTP, the stream is read, the server is told, and nobody holds anything."""

from __future__ import annotations

from typing import Any

import pytest

from durable_state import operations
from durable_state.models import Live
from tests.consumer.support.consuming import start_worker, wait_until
from tests.tables import check
from tests.wire import insert

from .support.bells import Add, seated

DOORBELLS = [Live.WEBHOOK, Live.PULL_WAKE]


@pytest.mark.parametrize("live", DOORBELLS)
def test_a_stream_is_read_when_it_rings(add_rung: Add, live: str) -> None:
    """Each time; in between, it has no holder, and says that it waits."""
    rung = add_rung(live)
    rung.remote.append([insert("message", "a", {"text": "hi"})])
    with seated(rung.using):
        rung.wait_until_at_rest()
        for key in ("a ", "A", "a"):
            rung.remote.append([insert("message", key, {"text": ""})])
            rung.wait_until_at_rest()
            wait_until(rung.is_acknowledged)

    check(rung.stream, rung.remote.items)
    found = operations.report(rung.stream)
    assert (found.status, found.stuck, found.holder) == ("waiting", False, "")
    assert "rang last at" in found.why


@pytest.mark.parametrize("live", DOORBELLS)
def test_killed_between_commit_and_acknowledgement(add_rung: Add, live: str, settings: Any) -> None:
    """The next reader acknowledges with what was kept; nothing is read twice."""
    rung = add_rung(live)
    with seated(rung.using):
        rung.wait_until_at_rest()
    rung.remote.append([insert("message", "a", {"text": "hi"})])
    if live == Live.WEBHOOK:
        wait_until(lambda: rung.doorbell.is_rung)

    program = "tests.doorbells.support.dying_reader"
    dying = start_worker(rung.stream, program=program, **settings.DURABLE_STATE)
    _, err = dying.communicate(timeout=60)
    assert dying.returncode == 9, err
    assert rung.is_read()
    assert not rung.is_acknowledged()
    assert rung.doorbell.wake_id

    revision = rung.stream.revision
    with seated(rung.using):
        rung.wait_until_at_rest()
        wait_until(rung.is_acknowledged)
    check(rung.stream, rung.remote.items)
    rung.stream.refresh_from_db()
    assert rung.stream.revision == revision
