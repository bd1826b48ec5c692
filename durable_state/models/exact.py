"""Text fields that store, and tell apart, every character on every database."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper

from durable_state.databases import database_of

__all__ = ["ExactCharField", "ExactTextField", "WideTextField"]


class _Exact:
    """Has MySQL compare the column's texts with their case and with trailing spaces.

    Without ``db_collation``, because other databases do not know MySQL's collation, and MariaDB's
    has another name.
    """

    def db_parameters(self, connection: BaseDatabaseWrapper) -> Any:
        parameters = super().db_parameters(connection)  # type: ignore[misc]
        if collation := database_of(connection).exact_collation:
            parameters["collation"] = collation
        return parameters


class ExactCharField(_Exact, models.CharField):  # type: ignore[type-arg]
    """A text of bounded length."""


class ExactTextField(_Exact, models.TextField):  # type: ignore[type-arg]
    """A text of any length."""


class WideTextField(models.TextField):  # type: ignore[type-arg]
    """A text of any length and any characters, even in a MySQL database whose character set has
    three bytes at most.
    """

    def db_parameters(self, connection: BaseDatabaseWrapper) -> Any:
        parameters = super().db_parameters(connection)
        if collation := database_of(connection).wide_collation:
            parameters["collation"] = collation
        return parameters
