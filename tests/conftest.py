"""Fixtures of the whole suite."""

from __future__ import annotations

import pytest

from tests.services import available, missing


@pytest.fixture(params=["default", "postgres", "mysql"])
def database(request: pytest.FixtureRequest, transactional_db: None) -> str:
    """The alias of one database after the other; a missing one is skipped with its reason."""
    alias: str = request.param
    if alias in missing:
        pytest.skip(missing[alias])
    assert alias == "default" or alias in available
    return alias
