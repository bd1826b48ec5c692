"""Finds streams by name, and the databases that have any."""

from __future__ import annotations

from difflib import get_close_matches

import django.db
from django.db import DEFAULT_DB_ALIAS, connections, router

from durable_state.errors import OperationRefused
from durable_state.models import Stream

__all__ = ["databases_with_streams", "find_stream"]


def databases_with_streams() -> list[str]:
    """The databases that have this app's tables, the default one first.

    A database that does not answer counts as having them.
    """
    return [
        alias
        for alias in sorted(connections, key=lambda alias: (alias != DEFAULT_DB_ALIAS, alias))
        if router.allow_migrate_model(alias, Stream) and _has_tables(alias)
    ]


def _has_tables(alias: str) -> bool:
    """Whether this app's migrations have run there; True for a database that does not answer."""
    if alias in _MIGRATED:
        return True
    try:
        tables = connections[alias].introspection.table_names()
    except django.db.Error:
        return True
    if Stream._meta.db_table in tables:
        _MIGRATED.add(alias)
    return alias in _MIGRATED


_MIGRATED: set[str] = set()
"""Databases that were seen to have the tables, which they keep."""


def find_stream(name: str, using: str = "default") -> Stream:
    """The stream with that name.

    Raises: OperationRefused, which names the streams that may have been meant.
    """
    streams = Stream.objects.using(using)
    stream = streams.filter(name=name).first()
    if stream is not None:
        return stream
    names = list(streams.values_list("name", flat=True)[:1000])
    close = get_close_matches(name, names, n=3)
    if close:
        action = f"Did you mean {' or '.join(close)}?"
    elif names:
        action = f"There are: {', '.join(names[:10])}{', ...' if len(names) > 10 else ''}."
    else:
        action = "There are none yet; add one: manage.py durable_state add NAME URL."
    raise OperationRefused(f"There is no stream {name!r} in the database {using!r}.", action)
