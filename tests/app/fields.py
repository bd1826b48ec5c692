"""Fields as applications write them:
one that converts, one that computes in SQL, one that makes its own value.
"""

from __future__ import annotations

from typing import Any

from django.db import models

__all__ = ["CaselessField", "LoweredField", "MirroredField", "ShoutedField"]


class MirroredField(models.CharField):
    """Holds its text backwards in the column, as an encrypted field would hold it unreadable."""

    def get_prep_value(self, value: Any) -> Any:
        value = super().get_prep_value(value)
        return value if value is None else value[::-1]

    def from_db_value(self, value: str | None, expression: Any, connection: Any) -> str | None:
        return value if value is None else value[::-1]


class LoweredField(models.CharField):
    """Lets the database write its text in small letters."""

    def get_placeholder(self, value: Any, compiler: Any, connection: Any) -> str:
        return "LOWER(%s)"


class ShoutedField(models.CharField):
    """Makes its value of another field's, when a row is inserted."""

    def pre_save(self, model_instance: Any, add: bool) -> Any:
        return model_instance.label.upper()


class CaselessField(models.CharField):
    """Takes two spellings for the same where the database has a collation that does."""

    def db_parameters(self, connection: Any) -> Any:
        """Names the collation."""
        collations = {"mysql": "utf8mb4_general_ci", "sqlite": "NOCASE"}
        return super().db_parameters(connection) | {"collation": collations.get(connection.vendor)}
