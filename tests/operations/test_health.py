"""Health: of every database, and cheap even if asked again and again."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connections
from django.db.models import QuerySet
from django.test import Client
from django.test.utils import CaptureQueriesContext

from durable_state import operations
from durable_state.models import Status, Stream
from durable_state.operations import health
from tests.consumer.support.consuming import in_threads
from tests.following import follow
from tests.servers.require import skip_or_fail
from tests.services import missing

ADDRESS = "/api/state/health/"


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has asked yet."""
    monkeypatch.setattr(health, "_latest", health._Latest())


def ask() -> int:
    """The answer for anonymous callers."""
    return Client().get(ADDRESS).status_code


@pytest.mark.django_db(transaction=True, databases="__all__")
def test_every_database_counts(database: str, fresh: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stuck stream in any of them is unhealthy, and so is a database that does not answer."""
    monkeypatch.setattr(health, "LATE_SECONDS", 0)
    monkeypatch.setattr(health, "databases_with_streams", lambda: ["default", database])
    stream = Stream.objects.using(database).create(name="s", url="http://localhost/s")
    follow(stream)
    assert ask() == 200
    Stream.objects.using(database).update(status=Status.HALTED)
    found = health.assess_health()
    assert [each.name for each in found.stuck[database]] == ["s"]
    assert ask() == 503


@pytest.mark.django_db(transaction=True, databases=["default", "postgres"])
def test_a_database_that_does_not_answer_is_not_well(
    fresh: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the others say."""
    if "postgres" in missing:
        skip_or_fail(missing["postgres"])
    monkeypatch.setattr(health, "databases_with_streams", lambda: ["default", "postgres"])
    assert health.assess_health().is_well

    away = connections["postgres"]
    away.close()
    with monkeypatch.context() as nowhere:
        nowhere.setitem(away.settings_dict, "PORT", "9")
        found = health.assess_health()
        assert (found.is_well, found.away) == (False, ["postgres"])
        assert ask() == 503


@pytest.mark.django_db(transaction=True)
def test_many_who_ask_cost_one_look(fresh: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even at the same moment; no cache on the way may keep the answer."""
    monkeypatch.setattr(health, "databases_with_streams", lambda: ["default"])
    monkeypatch.setattr(health, "LATE_SECONDS", 60)
    look, looks = operations.standings, []

    def counted(streams: QuerySet[Stream]) -> Any:
        looks.append(1)
        return look(streams)

    monkeypatch.setattr(health, "standings", counted)
    assert in_threads(*[ask] * 8) == [200] * 8
    assert len(looks) == 1
    with CaptureQueriesContext(connections["default"]) as queries:
        answer = Client().get(ADDRESS)
    assert (answer.status_code, answer.content, len(queries)) == (200, b"", 0)
    assert answer["Cache-Control"] == "no-store"
