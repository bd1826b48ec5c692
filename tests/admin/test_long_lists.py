"""Lists of any length: nothing is counted further than needed, and indexes do the sorting."""

from __future__ import annotations

import re

import pytest
from django.db import connection, connections
from django.test import Client
from django.test.utils import CaptureQueriesContext

from durable_state import operations
from durable_state.admin import paging, searching
from durable_state.models import DeadLetter, Intent, ParkedChange, Stream
from durable_state.testing import apply
from tests.wire import message

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.admin.support.urls")]

ADMIN = "/admin/durable_state/"


def test_no_list_counts_its_rows(admin_client: Client) -> None:
    """Every count is bounded; no DISTINCT runs over a whole table."""
    apply("chat", [message("1", "one"), message("2", "x" * 60)])
    stream = Stream.objects.get().pk
    pages = [
        *(f"{ADMIN}{name}/" for name in ("deadletter", "parkedchange", "feedentry", "intent")),
        *(
            f"{ADMIN}{name}/?stream={stream}"
            for name in ("deadletter", "parkedchange", "feedentry")
        ),
        f"{ADMIN}deadletter/?reason=too-long",
        f"{ADMIN}stream/",
        f"{ADMIN}stream/{stream}/change/",
        "/admin/app/message/",
    ]
    large = ("deadletter", "parkedchange", "feedentry", "intent", "app_message")
    for page in pages:
        with CaptureQueriesContext(connection) as asked:
            assert admin_client.get(page).status_code == 200
        for each in asked:
            sql = each["sql"]
            if any(name in sql for name in large):
                assert "COUNT(" not in sql or "LIMIT" in sql, (page, sql)
                assert not re.search(r"SELECT DISTINCT(?! 1)", sql), (page, sql)


def test_a_list_says_that_there_is_more_than_it_counts(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its pages can be turned as far as it counts."""
    monkeypatch.setattr(paging, "COUNTED", 120)
    stream = Stream.objects.create(name="chat", url="http://localhost/chat")
    DeadLetter.objects.bulk_create(
        DeadLetter(stream=stream, entity=f"#{place}", ordinal=place, reason="no-key", body=b"{}")
        for place in range(130)
    )
    page = admin_client.get(f"{ADMIN}deadletter/").content.decode()
    assert "120+ dead letters" in page
    assert "?p=3" in page
    assert admin_client.get(f"{ADMIN}deadletter/?p=3").status_code == 200
    few = admin_client.get(f"{ADMIN}deadletter/?reason=no-key&p=1").content.decode()
    assert "results" in few


def test_a_search_reads_the_newest_rows_only(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A search finds an entity by its whole key, however old its letter is."""
    monkeypatch.setattr(searching, "SEARCHED", 20)
    apply("chat", [message("old key", "x" * 60), message("other", "x" * 60)])
    apply("chat", [message(f"new {place}", "x" * 60) for place in range(20)])

    def found(path: str, term: str) -> str:
        page = admin_client.get(f"{ADMIN}{path}/", {"q": term}).content.decode()
        count = re.search(r"\s(\d+) (dead letter|activity entr)", page.partition('"paginator"')[2])
        assert count is not None
        return count[1]

    assert found("deadletter", "new") == "20"
    assert found("deadletter", "other") == "1"
    assert found("deadletter", "oth") == "0"
    assert found("deadletter", "old key") == "1"
    assert (
        "Finds an entity by its whole key"
        in admin_client.get(f"{ADMIN}deadletter/").content.decode()
    )

    for place in range(21):
        Intent.objects.create(stream_name="chat", verb="pause", actor=f"<{place}>")
    assert found("intent", "<20>") == "1"
    assert found("intent", "<0>") == "0"
    assert admin_client.get(f"{ADMIN}intent/?stream_name=chat").status_code == 200


def test_counts_stop_where_nobody_reads_on(database: str) -> None:
    """Up to the bound, the numbers are the same as without it."""
    streams = [
        Stream.objects.using(database).create(name=f"s{place}", url="http://localhost/s")
        for place in range(3)
    ]
    for place, stream in enumerate(streams):
        DeadLetter.objects.using(database).bulk_create(
            DeadLetter(stream=stream, entity=f"#{each}", ordinal=each, reason="no-key", body=b"")
            for each in range(4 * place)
        )
    whole = operations.reports(database)
    with CaptureQueriesContext(connections[database]) as asked:
        operations.reports(database)
    for each in asked:
        if "deadletter" in each["sql"] or "parkedchange" in each["sql"]:
            assert "LIMIT" in each["sql"] or "WITH RECURSIVE" in each["sql"]
            assert "GROUP BY" not in each["sql"]
    bounded = operations.reports(database, count_to=5)
    assert [each.dead_letters for each in whole.values()] == [0, 4, 8]
    assert [each.dead_letters for each in bounded.values()] == [0, 4, 6]
    assert [each.parked for each in bounded.values()] == [0, 0, 0]
    any_at_all = operations.reports(database, count_to=0)
    assert [each.dead_letters for each in any_at_all.values()] == [0, 1, 1]
    first = [streams[1].pk]
    assert [
        each.dead_letters for each in operations.reports(database, pks=first, count_to=0).values()
    ] == [1]


def test_the_newest_are_found_by_an_index() -> None:
    """For one stream among many: no sort, and no rows of the others are read."""
    if connection.vendor != "sqlite":
        pytest.skip("the plan is read as SQLite tells it")
    for rows in (
        DeadLetter.objects.filter(stream=1, generation=DeadLetter.SHOWN),
        ParkedChange.objects.filter(stream=1),
    ):
        plan = rows.order_by("-pk").explain()
        assert "USING INDEX" in plan or "USING COVERING INDEX" in plan
        assert "TEMP B-TREE" not in plan
