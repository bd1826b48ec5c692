"""Fixtures of the tests of the view that stream servers call."""

from __future__ import annotations

import pytest

from durable_state.webhook import views
from durable_state.webhook.keys import KeyRing
from tests.databases import alias_of, only
from tests.servers.misbehaving import MisbehavingServer

from .support.signing import SigningServer


@pytest.fixture(autouse=True)
def no_key_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process that has just started."""
    monkeypatch.setattr(views, "_keys", KeyRing())


@pytest.fixture
def signing_server(misbehaving_server: MisbehavingServer) -> SigningServer:
    """A server that signs with its only key, and publishes it."""
    return SigningServer(misbehaving_server)


@pytest.fixture(params=[only("postgres"), only("mysql")])
def server_database(request: pytest.FixtureRequest) -> str:
    """The alias of each database server in turn, for what only servers do."""
    return alias_of(request)
