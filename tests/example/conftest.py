"""A repository, the demo that shows it, and a browser to look at its pages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.repositories import ScratchRepository
from tests.servers.chromium import launched

from .support.demo import Demo, running

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="module")
def shown_repository(tmp_path_factory: pytest.TempPathFactory) -> ScratchRepository:
    """The repository whose history the module's demo shows."""
    made = ScratchRepository(tmp_path_factory.mktemp("shown") / "repository")
    made.fill(12)
    return made


@pytest.fixture(scope="module")
def demo(
    tmp_path_factory: pytest.TempPathFactory,
    chromium_path: str,
    shown_repository: ScratchRepository,
) -> Iterator[Demo]:
    """The demo, running for all tests of the module that look at its pages."""
    arguments = [f"--repository={shown_repository.folder}"]
    with running(tmp_path_factory.mktemp("demo"), *arguments) as started:
        started.url()
        yield started


@pytest.fixture(scope="module")
def browser(chromium_path: str) -> Iterator[Browser]:
    """A headless Chromium."""
    with launched(chromium_path) as started:
        yield started
