"""The number of statements for many messages depends on chunks, not on rows."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connections
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

from durable_state.testing import apply
from tests.app.models import Commit
from tests.wire import END, START, WHEN, change, commit_by

Messages = list[dict[str, Any]]

MANY = 800
"""More rows than fit in one statement on any database."""


def _authors(counts: dict[int, int]) -> Messages:
    return [change("author", str(number), commits=count) for number, count in counts.items()]


def _staff(turn: int) -> Messages:
    return [change("employee", str(i), email=str((i + turn) % MANY)) for i in range(MANY)]


ALL = dict.fromkeys(range(MANY), 1)
PARENT = [change("author", "p")]
CHILDREN = [commit_by(str(i), "p") for i in range(MANY)]
CASES: dict[str, tuple[Messages, Messages]] = {
    "inserts": ([], _authors(ALL)),
    "updates": (_authors(ALL), _authors(dict.fromkeys(range(MANY), 2))),
    "deletes": (_authors(ALL), [change("author", str(i), "delete") for i in range(MANY)]),
    "a snapshot": (_authors(ALL), [START, *_authors({i: i % 2 for i in range(MANY)}), END]),
    "children released": (CHILDREN, PARENT),
    "children parked": (PARENT + CHILDREN, [change("author", "p", "delete")]),
    "unique values passed on": (_staff(0), _staff(1)),
    "refusals": ([], [change("author", str(i), commits="x") for i in range(MANY)]),
}


@override_settings(DURABLE_STATE={"DEAD_LETTER_LIMIT": 100_000})
@pytest.mark.parametrize("case", CASES)
def test_statements_are_bounded(using: str, case: str) -> None:
    """A commit of many messages of one kind takes less than one statement for every eight."""
    before, messages = CASES[case]
    if before:
        apply("office", before, using=using)
    with CaptureQueriesContext(connections[using]) as statements:
        apply("office", messages, using=using)
    assert len(statements) < MANY / 8


def test_statements_are_bounded_in_bytes(using: str) -> None:
    """A switch of more than a database accepts in one packet succeeds."""
    subject = "x" * 60_000
    apply("h", [START, change("author", "a")], using=using)
    for start in range(0, 288, 48):
        messages = [
            change("commit", str(i), author="a", subject=subject, authored_at=WHEN)
            for i in range(start, start + 48)
        ]
        apply("h", messages, using=using)
    apply("h", [END], using=using)
    assert Commit.objects.using(using).count() == 288
