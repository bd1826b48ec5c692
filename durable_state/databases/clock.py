"""The database's clock, which all processes share."""

from __future__ import annotations

from typing import Any

from django.db.models.functions import Now

__all__ = ["ServerNow"]


class ServerNow(Now):
    """The moment as the database has it, in UTC.

    MySQL's plain one is local time, which jumps twice a year and is not what Django stores.
    """

    def as_mysql(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        return self.as_sql(compiler, connection, template="UTC_TIMESTAMP(6)", **extra)
