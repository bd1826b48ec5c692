"""Texts that the database holds, and tells apart, by each character."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper

from durable_state.databases import database_of

__all__ = ["ExactCharField", "ExactTextField", "WideTextField"]


class _Exact:
    """MySQL compares texts without case, and without spaces at the end, unless the column is told
    otherwise.

    No ``db_collation``: the other databases do not know MySQL's, and MariaDB's is another one.
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
    """A text of any length and of any characters, also in a MySQL database whose own have three
    bytes at most.
    """

    def db_parameters(self, connection: BaseDatabaseWrapper) -> Any:
        parameters = super().db_parameters(connection)
        if collation := database_of(connection).wide_collation:
            parameters["collation"] = collation
        return parameters
