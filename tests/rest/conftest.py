"""Fixtures of the REST views' tests."""

from __future__ import annotations

import pytest

from durable_state.operations import health
from tests.feed.support.fixtures import configure
from tests.websocket.support.fixtures import make_user

__all__ = ["configure", "make_user"]


@pytest.fixture(autouse=True)
def one_database(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits health to the database that the test may use, without older answers."""
    monkeypatch.setattr(health, "databases_with_streams", lambda: ["default"])
    monkeypatch.setattr(health, "LATE_SECONDS", 0)
