"""Fixtures of streams that nobody follows."""

from __future__ import annotations

from typing import Any

import pytest

from tests.servers.process import StreamServer

from .support.bells import Add, Rung


@pytest.fixture(autouse=True)
def quick(settings: Any, live_server: Any) -> None:
    """The URL at which servers call us; and leases short enough for a test to see them end."""
    settings.DURABLE_STATE = {
        "LEASE_SECONDS": 2,
        "WEBHOOK_URL": f"{live_server.url}/api/state/doorbells",
    }


@pytest.fixture
def add_rung(reference_server: StreamServer, database: str) -> Add:
    """Creates a stream that is live by a doorbell, on one database after another."""

    def add(live: str) -> Rung:
        return Rung(reference_server, database, live)

    return add
