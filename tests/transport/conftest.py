"""What the transport's tests share."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from durable_state.transport import open_client


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    """A client of this test's event loop."""
    async with open_client() as opened:
        yield opened
