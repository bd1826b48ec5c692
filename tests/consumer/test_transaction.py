"""The transaction of a commit, on servers whose settings are the project's own."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from django.db import connections

from durable_state.databases.transaction import commit_transaction
from durable_state.models import Stream


def test_a_commit_sees_what_others_commit_meanwhile(server_database: str) -> None:
    """Even if the project asks for an isolation level at which it would not."""
    stream = Stream.objects.using(server_database).create(name="s", url="http://tests.invalid/s")
    found = Stream.objects.using(server_database).filter(pk=stream.pk).values_list("url", flat=True)

    def move() -> None:
        try:
            Stream.objects.using(server_database).filter(pk=stream.pk).update(
                url="http://tests.invalid/moved"
            )
        finally:
            connections[server_database].close()

    postgres = server_database == "postgres"
    with connections[server_database].cursor() as cursor:
        asked = "SESSION CHARACTERISTICS AS TRANSACTION" if postgres else "SESSION TRANSACTION"
        cursor.execute(f"SET {asked} ISOLATION LEVEL REPEATABLE READ")
    try:
        with commit_transaction(server_database), ThreadPoolExecutor(1) as others:
            assert found.get() == "http://tests.invalid/s"
            others.submit(move).result()
            assert found.get() == "http://tests.invalid/moved"
    finally:
        connections[server_database].close()
