"""Fixtures that name one database after the other, for the conftests to load."""

from __future__ import annotations

from typing import Any

import pytest

from tests.servers.require import skip_or_fail
from tests.services import missing

__all__ = ["alias_of", "database", "only", "using"]


def only(alias: str) -> Any:
    """A parameter that lets its test touch one database: emptying all of them after each test would take longer than the tests."""
    return pytest.param(alias, marks=pytest.mark.django_db(transaction=True, databases=[alias]))


def _undone(alias: str) -> Any:
    return pytest.param(alias, marks=pytest.mark.django_db(databases=[alias]))


def alias_of(request: pytest.FixtureRequest) -> str:
    """The alias that is the fixture's parameter, where that database is there."""
    alias: str = request.param
    if alias in missing:
        skip_or_fail(missing[alias])
    return alias


@pytest.fixture(params=[only("default"), only("postgres"), only("mysql")])
def database(request: pytest.FixtureRequest) -> str:
    """The alias of one database after the other; the test may touch no other."""
    return alias_of(request)


@pytest.fixture(params=[_undone("default"), _undone("postgres"), _undone("mysql")])
def using(request: pytest.FixtureRequest) -> str:
    """The alias of one database after the other, rolled back after the test as in a TestCase: much faster than ``database``."""
    return alias_of(request)
