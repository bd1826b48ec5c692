"""What a table lets us do in bulk, asked once for each process and table, and said in the log where
it is less than usual.
"""

from __future__ import annotations

import logging
from functools import lru_cache
from typing import NamedTuple

from django.db import connections

__all__ = ["Capabilities", "forget", "mysql_capabilities", "postgresql_capabilities", "unused_name"]

logger = logging.getLogger("durable_state.materializer")


class Capabilities(NamedTuple):
    """Whether rows can be inserted by COPY, and updated by a join with their new values; else by a
    statement for each.
    """

    copies: bool = True
    joins: bool = True


def unused_name(name: str, table: str) -> str:
    """The name, or a similar one if the table has that name: statements must tell them apart."""
    return f"{name}_" if table.strip('"`').lower() == name else name


@lru_cache(maxsize=1024)
def postgresql_capabilities(using: str, table: str) -> Capabilities:
    """COPY writes past rules, does not know row-level security, and takes no view; joins need a
    temporary table.
    """
    connection = connections[using]
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relkind IN ('r', 'p', 'f'), row_security_active(oid),"
            " EXISTS (SELECT FROM pg_rewrite WHERE ev_class = pg_class.oid),"
            " has_database_privilege(current_database(), 'TEMP')"
            " FROM pg_class WHERE oid = to_regclass(%s)",
            [connection.ops.quote_name(table)],
        )
        found = cursor.fetchone()
    if found is None:
        return Capabilities()  # the statements will say so
    is_table, is_secured, has_rules, may_make_temporary = found
    if not is_table:
        return _reduced(table, "it is not a table", copies=False, joins=False)
    if is_secured:
        return _reduced(table, "it has row-level security", copies=False, joins=False)
    if has_rules:
        return _reduced(table, "it has rules", copies=False, joins=False)
    if not may_make_temporary:
        return _reduced(table, "the role has no TEMP privilege", copies=True, joins=False)
    return Capabilities()


@lru_cache(maxsize=1024)
def mysql_capabilities(using: str, table: str) -> Capabilities:
    """A view takes no join with a query of itself."""
    with connections[using].cursor() as cursor:
        cursor.execute(
            "SELECT table_type FROM information_schema.tables"
            " WHERE table_schema = DATABASE() AND table_name = %s",
            [table.strip("`")],
        )
        found = cursor.fetchone()
    if found is not None and "VIEW" in found[0]:
        return _reduced(table, "it is not a table", copies=False, joins=False)
    return Capabilities()


def forget() -> None:
    """Has all tables asked again, because one of them did not do what it had said."""
    postgresql_capabilities.cache_clear()
    mysql_capabilities.cache_clear()


def _reduced(table: str, why: str, *, copies: bool, joins: bool) -> Capabilities:
    what = "updated" if copies else "written"
    logger.warning("Rows of %s are %s one by one, which is slower: %s.", table, what, why)
    return Capabilities(copies, joins)
