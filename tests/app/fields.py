"""Fields as applications write them: one converts, one computes in SQL, one makes its own value."""

from __future__ import annotations

from typing import Any

from django.db import models

__all__ = ["CaselessField", "LoweredField", "MirroredField", "ShoutedField"]


class MirroredField(models.CharField):
    """Stores its text backwards, as an encrypted field would store it unreadable."""

    def get_prep_value(self, value: Any) -> Any:
        value = super().get_prep_value(value)
        return value if value is None else value[::-1]

    def from_db_value(self, value: str | None, expression: Any, connection: Any) -> str | None:
        return value if value is None else value[::-1]


class LoweredField(models.CharField):
    """Has the database store its text in lower case."""

    def get_placeholder(self, value: Any, compiler: Any, connection: Any) -> str:
        return "LOWER(%s)"


class ShoutedField(models.CharField):
    """Computes its value from another field's when a row is inserted."""

    def pre_save(self, model_instance: Any, add: bool) -> Any:
        return model_instance.label.upper()


class CaselessField(models.CharField):
    """Treats two spellings as equal if the database has a suitable collation."""

    def db_parameters(self, connection: Any) -> Any:
        """Names the collation."""
        collations = {"mysql": "utf8mb4_general_ci", "sqlite": "NOCASE"}
        return super().db_parameters(connection) | {"collation": collations.get(connection.vendor)}
