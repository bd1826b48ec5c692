"""Django's ``flush`` for tests, which empty the databases thousands of times: only tables that have
rows.

Django's own truncates all tables and then recreates all content types and permissions, which takes
a second or two for each test that commits. Here they stay unless a test has touched them.
"""

from __future__ import annotations

from typing import Any

from django.core.management.commands.flush import Command as Flush
from django.db import DatabaseError, connections, transaction

MADE_BY_DJANGO = ["auth_permission", "django_content_type"]
"""What ``post_migrate`` creates, and creates again after Django's ``flush``."""

_counted: dict[str, list[int]] = {}
"""How many rows of it each database has, by alias."""


class Command(Flush):
    """Leaves the same rows as Django's."""

    def handle(self, **options: Any) -> None:
        """Falls back to Django's if anything is unusual."""
        using = options["database"]
        plain = not (
            options["interactive"]
            or options.get("reset_sequences", True)
            or options.get("allow_cascade")
            or options.get("inhibit_post_migrate")
        )
        try:
            if plain and _empty(using):
                return
        except DatabaseError:
            pass
        _counted.pop(using, None)
        super().handle(**options)
        _counted[using] = _count(using)


def _count(using: str) -> list[int]:
    with connections[using].cursor() as cursor:
        parts = [f"(SELECT COUNT(*) FROM {table})" for table in MADE_BY_DJANGO]
        cursor.execute(f"SELECT {', '.join(parts)}")
        return list(cursor.fetchone())


def _empty(using: str) -> bool:
    """Deletes all rows except those that Django created; False if these have changed."""
    if _counted.get(using) != _count(using):
        return False
    connection = connections[using]
    quote = connection.ops.quote_name
    names = connection.introspection.django_table_names(only_existing=True, include_views=False)
    names = sorted(set(names) - {*MADE_BY_DJANGO, "django_migrations"})
    with (
        transaction.atomic(using=using),
        connection.constraint_checks_disabled(),
        connection.cursor() as cursor,
    ):
        cursor.execute(f"SELECT {', '.join(f'EXISTS (SELECT 1 FROM {quote(n)})' for n in names)}")
        for name, has_rows in zip(names, cursor.fetchone(), strict=True):
            if has_rows:
                cursor.execute(f"DELETE FROM {quote(name)}")
    return True
