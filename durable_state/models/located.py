"""Tells which database a row was read from."""

from __future__ import annotations

from django.db import DEFAULT_DB_ALIAS
from django.db.models.base import ModelState

__all__ = ["Located"]


class Located:
    """A model whose rows know their database, which all related rows share."""

    _state: ModelState

    @property
    def using(self) -> str:
        """The alias of the row's database."""
        return self._state.db or DEFAULT_DB_ALIAS
