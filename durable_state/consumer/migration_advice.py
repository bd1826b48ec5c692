"""Advises which app to migrate when the database lacks a table or column."""

from __future__ import annotations

import re

import django.db
from django.apps import apps
from django.db import connections
from django.db.migrations.executor import MigrationExecutor

from durable_state.registry import registry

__all__ = ["pending_migrations", "what_to_migrate"]

_TABLE = re.compile(
    r"relation \"(?:[^\"]*\.)?(?P<postgresql>[^\".]+)\" does not exist"
    r"|Table '(?:[^'.]*\.)?(?P<mysql>[^'.]+)' doesn't exist"
    r"|no such table: (?:\w+\.)?(?P<sqlite>\S+)"
)
_COLUMN = re.compile(
    r"column .* does not exist|Unknown column|no such column|has no column named", re.DOTALL
)


def what_to_migrate(error: django.db.Error, stream_name: str) -> str:
    """What to do about a missing table or column; empty if none is missing.

    A missing table names its app; a missing column may be of any app that the stream is mapped to.
    """
    text = str(error)
    if found := _TABLE.search(text):
        table = next(filter(None, found.groups()))
        labels = {
            model._meta.app_label for model in apps.get_models() if model._meta.db_table == table
        }
    elif _COLUMN.search(text):
        mappings = registry.for_stream(stream_name)
        labels = {mapping.model._meta.app_label for mapping in mappings}
    else:
        return ""
    if not labels:
        return ""
    return (
        f"Run manage.py makemigrations {' '.join(sorted(labels))}, then manage.py migrate, and "
        "resume; nothing of the batch was committed."
    )


def pending_migrations(using: str) -> list[str]:
    """The migrations that this code has and the database lacks, as ``app.name``."""
    executor = MigrationExecutor(connections[using])
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return [f"{migration.app_label}.{migration.name}" for migration, _ in plan]
