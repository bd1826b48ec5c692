"""README and tutorial lead from an empty folder to a live page, without anything else."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.support.following import follow
from tests.docs.support.pages import CHECKOUT
from tests.servers.require import skip_or_fail

from .support.bare import registry_is_missing

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(600)]


@pytest.mark.parametrize("page", ["README.md", "docs/tutorial.md"])
def test_typed_by_a_stranger(page: str, tmp_path: Path) -> None:
    """Every block is typed as it is, including the installation, and the browser shows the rows."""
    if reason := registry_is_missing(tmp_path):
        skip_or_fail(reason)
    empty = tmp_path / "empty"
    empty.mkdir()
    if unseen := follow(CHECKOUT / page, {"empty": empty}, tmp_path / "project", bare=True):
        skip_or_fail(f"what {page} shows in a browser was not looked at: {unseen}")
