"""Where Django looks for the backend's connections."""

from __future__ import annotations

from typing import Any

from django.db.backends.postgresql import base

__all__ = ["DatabaseWrapper"]


class DatabaseWrapper(base.DatabaseWrapper):
    """Each of its cursors begins in the public schema."""

    def _cursor(self, name: str | None = None) -> Any:
        cursor = super()._cursor(name)  # type: ignore[misc]
        self.connection.execute("SET search_path = public")
        return cursor
