"""What the transport's tests share."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from durable_state.transport import open_client
from tests.servers.fixtures import misbehaving_server, rakaia_server, reference_server, stream_server

__all__ = ["client", "misbehaving_server", "rakaia_server", "reference_server", "stream_server"]


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    """A client of this test's event loop."""
    async with open_client() as opened:
        yield opened
