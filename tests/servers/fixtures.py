"""Fixtures of stream servers, for the root conftest to load."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from . import reference as npm
from .misbehaving import MisbehavingServer, misbehaving
from .process import StreamServer
from .rakaia import rakaia
from .require import skip_or_fail

__all__ = ["misbehaving_server", "rakaia_server", "reference_server", "stream_server"]


@pytest.fixture(scope="session")
def reference_server() -> Iterator[StreamServer]:
    """The reference server, running for the whole session; long-polls last 0.6 s."""
    if reason := npm.missing():
        skip_or_fail(reason)
    with npm.reference() as server:
        yield server


@pytest.fixture(scope="session")
def rakaia_server() -> Iterator[StreamServer]:
    """rakaia-streams, running for the whole session; long-polls last 0.6 s."""
    with rakaia() as server:
        yield server


@pytest.fixture(scope="session", params=["reference", "rakaia"])
def stream_server(request: pytest.FixtureRequest) -> StreamServer:
    """Each of the real servers in turn."""
    server: StreamServer = request.getfixturevalue(f"{request.param}_server")
    return server


@pytest.fixture
def misbehaving_server() -> Iterator[MisbehavingServer]:
    """A separate server that does what it is told, however wrong."""
    with misbehaving() as server:
        yield server
