"""The database's clock, which all processes share."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.db.models import BigIntegerField, Func, QuerySet
from django.db.models.functions import Now
from django.utils import timezone

__all__ = ["ServerNow", "ServerSeconds", "database_now"]


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


def database_now(rows: QuerySet[Any]) -> datetime:
    """The moment by the clock of the database that has the rows, to the second, as the project
    keeps moments: local times without ``USE_TZ``. By this machine's clock where there is no row.
    """
    seconds = rows.values_list(ServerSeconds(), flat=True).first()
    if seconds is None:
        return timezone.now()
    now = datetime.fromtimestamp(seconds, UTC)
    return now if settings.USE_TZ else timezone.make_naive(now, timezone.get_default_timezone())
