"""Whatever breaks, wherever: afterwards the tables equal the fold, and each message counts once.

``DURABLE_STATE_CRASH_STEP=1`` tries every point instead of some.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from typing import Any

import pytest

from durable_state import operations
from durable_state.models import ParkedChange, Stream
from durable_state.transport import backoff
from tests.app.models import Author, Commit
from tests.databases import alias_of, only
from tests.tables import adds_up, check

from .support.faults import Fault, Kind
from .support.script import SCRIPTS, Script, run_script

pytestmark = [
    pytest.mark.django_db(transaction=True),
    # A process that dies closes no cursor.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

Run = Callable[[str, Fault], None]

STEP = int(os.environ.get("DURABLE_STATE_CRASH_STEP", "9"))
"""Odd, so that both kinds of faults strike. Trying every point of all scripts takes about half
an hour.
"""

every_script = pytest.mark.parametrize("name", SCRIPTS)


@pytest.fixture(params=[only("default"), only("postgres")])
def using(request: pytest.FixtureRequest) -> str:
    """A database in a file, and one on a server."""
    return alias_of(request)


@pytest.fixture
def run(using: str, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the script of that name with the fault, and compares the result with the fold."""
    settings.DURABLE_STATE = {"LEASE_SECONDS": 5, "BATCH_ROWS": 4}
    monkeypatch.setattr(backoff, "BASE", 0.02)

    def run_and_check(name: str, fault: Fault) -> None:
        streams = Stream.objects.using(using)
        stream = streams.create(name="crashed", url="http://tests.invalid/s", live="long-poll")
        try:
            run_script(SCRIPTS[name], stream, fault, monkeypatch)
            check(stream, SCRIPTS[name].items)
            adds_up(stream.name, using)
            check_relations(stream, SCRIPTS[name])
        finally:
            operations.remove(stream, actor="test")

    return run_and_check


def check_relations(stream: Stream, script: Script) -> None:
    """The rows that wait for others, which the fold of ``check`` does not know."""
    authors = Author.objects.using(stream.using).values_list("key", "commits")
    assert dict(authors) == script.authors
    commits = Commit.objects.using(stream.using).values_list("key", "author__key")
    assert dict(commits) == script.commits
    parked = ParkedChange.objects.using(stream.using).filter(stream=stream)
    assert parked.count() == script.waiting


@every_script
def test_at_some_point(run: Run, using: str, name: str) -> None:
    """The run without a fault has points; at one of them, always the same, either fault strikes."""
    fault = Fault(Kind.KILLED, -1)
    run(name, fault)
    assert fault.points > 40

    for kind in Kind:
        chance = random.Random(f"{using} {name} {kind}")
        fault = Fault(kind, chance.randrange(fault.points * 2 // 3))
        run(name, fault)
        assert fault.struck


@pytest.mark.acceptance
@pytest.mark.timeout(900)
@every_script
def test_at_every_point(run: Run, using: str, name: str) -> None:
    """Every ``STEP``-th point, until a run has fewer; the servers get the other fault than the
    file.
    """
    failed = []
    kinds = list(Kind) if using == "default" else list(reversed(Kind))
    point, fault = 0, Fault(kinds[0], 0)
    while point == 0 or fault.struck:
        fault = Fault(kinds[point % 2], point)
        try:
            run(name, fault)
        except Exception as error:
            failed.append(f"{point}, {fault.struck}: {error!r}")
        point += STEP
    assert not failed, "\n".join(failed)
