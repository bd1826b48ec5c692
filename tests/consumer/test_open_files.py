"""A seat may open a connection for each of its streams."""

from __future__ import annotations

import resource
from collections.abc import Iterator

import pytest

from durable_state.consumer.open_files import BESIDES, allow_open_files


@pytest.fixture
def hard() -> Iterator[int]:
    """The hard limit; the soft limit is the usual default, or less."""
    before, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(1024, hard), hard))
    yield hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (before, hard))


def limit() -> int:
    """The current limit."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def test_the_limit_is_raised(hard: int, caplog: pytest.LogCaptureFixture) -> None:
    """To what so many streams need, without a log message."""
    allow_open_files(1000)
    assert limit() == 1000 + BESIDES
    assert not caplog.records


def test_a_limit_that_is_high_enough_stays(hard: int) -> None:
    """Whoever set it had a reason."""
    allow_open_files(100)
    assert limit() == 1024


def test_too_few_are_told(hard: int, caplog: pytest.LogCaptureFixture) -> None:
    """As many as allowed, and the log says what to do."""
    if hard == resource.RLIM_INFINITY:
        pytest.skip("there is no limit")
    allow_open_files(hard)
    assert limit() == hard
    assert "LimitNOFILE" in caplog.text


def test_a_system_that_refuses_is_told_of(
    hard: int, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The seat runs with the files that it has."""

    def refuse(*_: object) -> None:
        raise ValueError("current limit exceeds maximum limit")

    with monkeypatch.context() as patch:
        patch.setattr(resource, "setrlimit", refuse)
        allow_open_files(1000)
    assert limit() == 1024
    assert "may open 1024 files" in caplog.text
