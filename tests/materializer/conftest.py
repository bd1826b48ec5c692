"""A database for tests that need no commit."""

from __future__ import annotations

import pytest

from tests.servers.require import skip_or_fail
from tests.services import missing


def _undone(alias: str) -> object:
    return pytest.param(alias, marks=pytest.mark.django_db(databases=[alias]))


@pytest.fixture(params=[_undone("default"), _undone("postgres"), _undone("mysql")])
def using(request: pytest.FixtureRequest) -> str:
    """The alias of one database after the other, rolled back after the test as in a TestCase: much faster than ``database``."""
    alias: str = request.param
    if alias in missing:
        skip_or_fail(missing[alias])
    return alias
