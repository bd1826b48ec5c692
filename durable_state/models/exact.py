"""Texts that the database holds, and tells apart, by each character, whatever it does by default."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper

__all__ = ["ExactCharField", "ExactTextField", "WideTextField"]


class _Exact:
    """MySQL compares texts without case, and without spaces at the end, unless the column is told
    otherwise.

    No ``db_collation``: the other databases do not know MySQL's, and MariaDB's is another one.
    """

    def db_parameters(self, connection: BaseDatabaseWrapper) -> Any:
        parameters = super().db_parameters(connection)  # type: ignore[misc]
        if connection.vendor == "mysql":
            is_mariadb = getattr(connection, "mysql_is_mariadb", False)
            parameters["collation"] = "utf8mb4_nopad_bin" if is_mariadb else "utf8mb4_0900_bin"
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
        if connection.vendor == "mysql":
            parameters["collation"] = "utf8mb4_general_ci"
        return parameters
