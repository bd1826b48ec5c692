"""The two ways in which rows are written."""

from __future__ import annotations

import pytest

__all__ = ["write_by_the_orm"]


def write_by_the_orm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the ORM write the project's tables on every database."""
    from durable_state.databases import VENDORS  # not before Django is set up

    for database in VENDORS.values():
        monkeypatch.setattr(database, "writes_columns", False)
