"""What the caller has set on its connection also applies to the threads that consume."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connections

from durable_state import operations
from durable_state.consumer.run import sync
from durable_state.databases.callers import CallerState
from durable_state.databases.choosing import database_of
from durable_state.databases.limits import SessionLimits
from durable_state.errors import OperationRefused
from durable_state.models import Stream
from tests.app.models import Message
from tests.consumer.support.remote import RemoteStream
from tests.servers.process import StreamServer
from tests.wire import insert

from .support.tenants.base import DatabaseWrapper

pytestmark = pytest.mark.django_db(transaction=True, databases=["postgres"])


@pytest.fixture
def tenant() -> Iterator[Any]:
    """A schema with all tables, to which the test's connection is set."""
    connection = connections["postgres"]
    tables = connection.introspection.table_names()
    with connection.cursor() as cursor:
        cursor.execute("CREATE SCHEMA tenant")
        for table in tables:
            cursor.execute(f'CREATE TABLE tenant."{table}" (LIKE public."{table}" INCLUDING ALL)')
        cursor.execute("SET search_path = tenant")
        try:
            yield cursor
        finally:
            cursor.execute("SET search_path = public")
            cursor.execute("DROP SCHEMA tenant CASCADE")


def test_the_search_path(rakaia_server: StreamServer, tenant: Any) -> None:
    """The tenant's stream goes to the tenant's tables, and is verified there; the public stream
    of the same name is left alone.
    """
    remote = RemoteStream(rakaia_server.stream())
    remote.append([insert("message", "a", {"text": "hi"})])
    Stream.objects.using("postgres").create(name="same", url=remote.url)
    tenant.execute("SET search_path = public")
    public = Stream.objects.using("postgres").create(name="same", url="http://tests.invalid/s")
    tenant.execute("SET search_path = tenant")

    stream = Stream.objects.using("postgres").get(name="same")
    sync(stream, until_up_to_date=True)
    assert Message.objects.using("postgres").get().text == "hi"
    assert operations.verify(stream).equal

    tenant.execute("SET search_path = public")
    public.refresh_from_db()
    assert (public.ordinal, public.last_error) == (0, "")
    assert not Message.objects.using("postgres").exists()
    tenant.execute("SET search_path = tenant")


def test_cursors_that_set_the_search_path_are_made_anew(tenant: Any) -> None:
    """As with django-tenants: the project may have worked in another schema since the last one."""
    connection = DatabaseWrapper(connections["postgres"].settings_dict, "postgres")
    database = database_of(connection)
    try:
        connection.ensure_connection()
        database.limits = SessionLimits("tests", 5)  # a separate session
        for _ in range(2):
            (answer,) = database.run_together([("SELECT current_schema()", ())])
            assert answer.rows == [("public",)]
            connection.connection.execute("SET search_path = tenant")
    finally:
        connection.close()


def test_a_pool_takes_nothing_over(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its connections may be lent to others next, so it is refused."""
    monkeypatch.setitem(connections.settings["postgres"], "OPTIONS", {"pool": True})
    with pytest.raises(OperationRefused, match="search_path"):
        CallerState.of("postgres")
