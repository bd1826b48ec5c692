"""Fixtures for tests of environments."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from tests.servers.require import skip_or_fail


@pytest.fixture
def psycopg_pool() -> None:
    """Requires the package for connection pools within the process."""
    if find_spec("psycopg_pool") is None:
        skip_or_fail("psycopg_pool is not installed")
