"""What a page of a snapshot costs the database."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connections

from durable_state.feed import rows
from durable_state.registry import registry
from tests.servers.require import skip_or_fail
from tests.services import missing

from .support.commits import commit, make_stream


@pytest.mark.django_db(transaction=True, databases=["postgres"])
def test_a_page_reads_no_more_rows_than_it_has() -> None:
    """A cursor that outlives its transaction would make PostgreSQL read and copy all of them,
    for each page of a few large rows.
    """
    if "postgres" in missing:
        skip_or_fail(missing["postgres"])
    stream = make_stream(using="postgres")
    commit(stream, {("setting", f"s{n}"): n for n in range(120)})
    mapping = registry.find("setting", stream.name)
    assert mapping is not None
    held: list[tuple[bool]] = []

    def render(row: Any) -> None:
        if not held:
            with connections["postgres"].cursor() as cursor:
                cursor.execute("SELECT is_holdable FROM pg_cursors WHERE name LIKE '_django_%'")
                held.extend(cursor.fetchall())

    assert rows.page(mapping, mapping.rows(stream), None, render) == ([], None)
    assert held == [(False,)]
    assert connections["postgres"].get_autocommit()
