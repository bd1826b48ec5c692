"""Pages of few rows, so that few rows make many pages."""

from __future__ import annotations

import pytest

from durable_state.feed import group, narrowed_group, rendering, rows
from durable_state.rest.feed import reading

__all__ = ["set_page_rows"]


def set_page_rows(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """Ends each page of a snapshot, and each part of a commit, after ``count`` rows."""
    for module in (rows, rendering, group, narrowed_group, reading):
        monkeypatch.setattr(module, "PAGE_ROWS", count)
