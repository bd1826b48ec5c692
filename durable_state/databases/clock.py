"""The database's clock, which all processes share."""

from __future__ import annotations

from typing import Any

from django.db.models import BigIntegerField, Func
from django.db.models.functions import Now

__all__ = ["ServerNow", "ServerSeconds"]


class ServerNow(Now):
    """The moment as the database has it, in UTC.

    MySQL's plain one is local time, which jumps twice a year and is not what Django stores.
    """

    def as_mysql(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        return self.as_sql(compiler, connection, template="UTC_TIMESTAMP(6)", **extra)


class ServerSeconds(Func):
    """The same as whole seconds since 1970, to be compared with what others say in such."""

    arity = 0
    output_field = BigIntegerField()
    template = "CAST(FLOOR(EXTRACT(EPOCH FROM STATEMENT_TIMESTAMP())) AS bigint)"

    def as_mysql(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        return self.as_sql(compiler, connection, template="UNIX_TIMESTAMP()", **extra)

    def as_sqlite(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        template = "CAST((julianday('now') - 2440587.5) * 86400 AS INTEGER)"
        return self.as_sql(compiler, connection, template=template, **extra)
