"""The output of ``run`` about many streams is short."""

from __future__ import annotations

import asyncio
from io import StringIO

import pytest
from django.core.management.base import BaseCommand

from durable_state.management import reporter
from durable_state.management.reporter import NAMED_STREAMS, Reporter
from durable_state.management.verbs.running import _list_streams
from durable_state.models import Status, Stream


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> StringIO:
    """The output; counts are printed at once."""
    monkeypatch.setattr(reporter, "COUNT_SECONDS", 0.0)
    return StringIO()


def streams(count: int) -> list[Stream]:
    """So many new streams."""
    return [Stream(name=f"s{number}", status=Status.NEW) for number in range(count)]


async def test_many_streams_are_counted(said: StringIO) -> None:
    """The first are named; of the others, it says how many are taken, live and let go."""
    told, all_of_them = Reporter(BaseCommand(stdout=said), 1), streams(NAMED_STREAMS + 5)
    for each in all_of_them:
        told.began(each)
    for each in all_of_them[-2:]:
        each.status = Status.LIVE
        told.progressed(each)
    told.let_go(all_of_them[0])
    await asyncio.sleep(0.01)
    *named, counts = said.getvalue().splitlines()
    assert named == [f"s{number}: taken, after 0 messages" for number in range(NAMED_STREAMS)]
    assert (
        counts
        == "5 more streams taken, 2 more streams live, 1 more stream handed to another worker"
    )


async def test_what_is_not_usual_is_always_told(said: StringIO) -> None:
    """However many streams there are: their state, and that it is over."""
    told, all_of_them = Reporter(BaseCommand(stdout=said), 1), streams(NAMED_STREAMS + 5)
    for each in all_of_them:
        told.began(each)
    for status in (Status.RETRYING, Status.LIVE):
        all_of_them[0].status = status
        told.progressed(all_of_them[0])
    assert said.getvalue().splitlines()[-2:] == [
        "s0: retrying, 0 messages read",
        "s0: live, 0 messages read",
    ]


async def test_all_are_told_where_that_is_asked_for(said: StringIO) -> None:
    """``-v 2`` names each."""
    told = Reporter(BaseCommand(stdout=said), 2)
    for each in streams(NAMED_STREAMS + 5):
        told.began(each)
    assert len(said.getvalue().splitlines()) == NAMED_STREAMS + 5


@pytest.mark.django_db
def test_run_looks_at_few_streams_first(said: StringIO) -> None:
    """Of many paused ones, the first are named, and only these are examined closely."""
    Stream.objects.bulk_create(
        Stream(name=f"s{number:03}", url="http://127.0.0.1:9/s", paused=number % 2 == 0)
        for number in range(2 * (NAMED_STREAMS + 5))
    )
    _list_streams(BaseCommand(stdout=said), "default")
    lines = said.getvalue().splitlines()
    assert lines[0].startswith("Consuming 50 streams.")
    assert [line.split(":")[0] for line in lines[1 : NAMED_STREAMS + 1]] == [
        f"s{number:03}" for number in range(0, 2 * NAMED_STREAMS, 2)
    ]
    assert lines[NAMED_STREAMS + 1 :] == ["and 5 more: manage.py durable_state status"]


@pytest.mark.django_db
def test_run_says_why_a_stream_is_retried(said: StringIO) -> None:
    """The error is printed as well as the advice."""
    Stream.objects.create(
        name="s",
        url="http://127.0.0.1:9/s",
        status=Status.RETRYING,
        last_error="The server is away.",
        action="Retrying automatically.",
    )
    _list_streams(BaseCommand(stdout=said), "default")
    assert "s: retrying · The server is away. · Retrying automatically.\n" in said.getvalue()
