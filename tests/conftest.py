"""Fixtures of the whole suite."""

from __future__ import annotations

import pytest

from tests.services import available, missing


@pytest.fixture(params=["default", "postgres", "mysql"])
def database(request: pytest.FixtureRequest) -> str:
    """The alias of one database after the other. Mark the test `django_db(transaction=True, databases="__all__")`."""
    alias: str = request.param
    if alias in missing:
        pytest.skip(missing[alias])
    assert alias == "default" or alias in available
    return alias
