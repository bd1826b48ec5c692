"""W040, W041, W042: whether a database offers the sessions that consumers need.

Asks the server; a database that does not answer is skipped.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

from django.core import checks
from django.db import DatabaseError, connections, router

from durable_state.databases import find_database
from durable_state.databases.pooled import pool_size
from durable_state.models import Stream

__all__ = ["check_sessions"]

POOL_CONNECTIONS = 4
"""Connections that a consumer needs at least: for commits, its leases, and request headers."""

_LOST_BEHIND_POOLERS = {
    "assume_role": "it would stay set in sessions that others use next: have the pooler log in with"
    " that role, and leave it out",
    "prepare_threshold": "PgBouncer supports prepared statements since 1.21, with"
    " max_prepared_statements: leave it out with an older one",
    "server_side_binding": "with prepare_threshold, it needs PgBouncer 1.21 or newer",
}
"""Connection options that only a session keeps, and what to do about each."""


def check_sessions(aliases: Sequence[str]) -> list[checks.CheckMessage]:
    """Checks the databases of these aliases."""
    found: list[checks.CheckMessage] = []
    for alias in aliases:
        if not router.allow_migrate_model(alias, Stream):
            continue
        found += _check_pool(alias)
        with suppress(DatabaseError):  # Django's own checks say so
            found += _check_pooler(alias)
            found += _check_role(alias)
    return found


def _check_pool(alias: str) -> Iterator[checks.CheckMessage]:
    """W040: the pool has fewer connections than a consumer uses at the same time."""
    size = pool_size(alias)
    if size is not None and size < POOL_CONNECTIONS:
        yield checks.Warning(
            f"The pool of the database {alias!r} has {size} connections: a consumer commits while"
            " it keeps its leases and has request headers made, so these wait for each other.",
            f'Set "max_size" in DATABASES[{alias!r}]["OPTIONS"]["pool"] to {POOL_CONNECTIONS} or'
            " more, for each consumer of a process.",
            id="durable_state.W040",
        )


def _check_pooler(alias: str) -> Iterator[checks.CheckMessage]:
    """W041: options rely on a session that a pooler exchanges between transactions."""
    if pool_size(alias) is not None or not find_database(alias).lends_sessions():
        return

    settings: Any = connections[alias].settings_dict
    if not settings["DISABLE_SERVER_SIDE_CURSORS"]:
        yield checks.Warning(
            f"The database {alias!r} is behind a pooler, and cursors on the server are not"
            " disabled: in transaction mode they close before all of their rows are read.",
            f"Set DATABASES[{alias!r}]['DISABLE_SERVER_SIDE_CURSORS'] = True.",
            id="durable_state.W041",
        )
    for name, advice in _LOST_BEHIND_POOLERS.items():
        value = settings["OPTIONS"].get(name)
        prepares_at_once = name == "prepare_threshold" and value == 0
        if value or prepares_at_once:
            yield checks.Warning(
                f"The database {alias!r} is behind a pooler, and OPTIONS has {name!r}, which a"
                " session does not keep in transaction mode.",
                f"{advice[0].upper()}{advice[1:]}.",
                id="durable_state.W041",
            )


def _check_role(alias: str) -> Iterator[checks.CheckMessage]:
    """W042: a worker may not end the sessions of another one that froze."""
    obstacle = find_database(alias).obstacle_to_ending_sessions()
    if obstacle is not None:
        what, advice = obstacle
        yield checks.Warning(
            f"Workers cannot end each other's sessions in the database {alias!r}: {what}. If one"
            " freezes inside a commit, its locks stay until the server drops its connection.",
            advice,
            id="durable_state.W042",
        )
