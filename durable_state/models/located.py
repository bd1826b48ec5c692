"""Which database a row lives in."""

from __future__ import annotations

from django.db import DEFAULT_DB_ALIAS
from django.db.models.base import ModelState

__all__ = ["Located"]


class Located:
    """A model whose rows name the database that all their relatives live in too."""

    _state: ModelState

    @property
    def using(self) -> str:
        """The alias of its database."""
        return self._state.db or DEFAULT_DB_ALIAS
