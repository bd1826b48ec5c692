"""MariaDB hangs up at a statement beyond max_allowed_packet; no message may get that far."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.db import DataError, connections

from durable_state import operations
from durable_state.databases.transaction import commit_transaction
from durable_state.errors import OperationRefused
from durable_state.models import DeadLetter, Generation, ParkedChange, StagedChange
from durable_state.testing import apply
from tests.app.models import Commit, Setting
from tests.tables import adds_up
from tests.wire import END, START, change

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "mysql"])

PACKET = 16 * 1024 * 1024


def setting(key: str, size: int) -> bytes:
    """Made by hand: half of it is quotes, each of which the driver sends as two bytes."""
    value = '\\"' * (size // 2)
    headers = {"operation": "upsert"}
    text = json.dumps({"type": "setting", "key": key, "headers": headers, "value": 0})
    return text.replace('"value": 0', f'"value": "{value}"').encode()


@pytest.fixture
def packet() -> int:
    """The most that the server accepts at once: its default."""
    with connections["mysql"].cursor() as cursor:
        cursor.execute("SELECT @@max_allowed_packet")
        (found,) = cursor.fetchone()
    assert found == PACKET
    return PACKET


@pytest.mark.parametrize("size", [20_000_000, 9_000_000], ids=["beyond", "with-its-quotes"])
@pytest.mark.parametrize("staged", [False, True], ids=["shown", "staged"])
def test_a_message_that_the_database_cannot_hold(packet: int, size: int, staged: bool) -> None:
    """It becomes a letter that says so, live and in a snapshot alike; the messages beside it are
    shown.
    """
    messages: list[Any] = [setting("a", 10), setting("big", size), setting("b", 1000)]
    outcome = apply("chat", [START, *messages, END] if staged else messages, using="mysql")
    assert (outcome.applied, outcome.dead_letters) == (2, 1)
    keys = Setting.objects.using("mysql").values_list("key", flat=True)
    assert set(keys) == {"a", "b"}
    letter = DeadLetter.objects.using("mysql").get()
    assert (letter.key, letter.reason) == ("big", "too-long")
    assert f"max_allowed_packet = {packet}" in letter.detail
    assert not StagedChange.objects.using("mysql").exists()
    adds_up("chat", "mysql")


def test_a_letter_of_a_large_message_keeps_its_beginning(packet: int) -> None:
    """It says how much of it, and that it cannot be tried again."""
    raw = setting("big", 20_000_000)
    apply("chat", [raw, b"[" + b'"x", ' * 4_000_000 + b"0]"], using="mysql")
    for letter in DeadLetter.objects.using("mysql"):
        assert len(letter.body) == 64 * 1024
        assert f"the first {64 * 1024} are kept" in letter.detail
    assert DeadLetter.objects.using("mysql").count() == 2
    letter = DeadLetter.objects.using("mysql").get(key="big")
    assert raw.startswith(bytes(letter.body))
    with pytest.raises(OperationRefused, match="malformed"):
        operations.retry(letter, actor="test")


def test_what_the_database_can_just_hold(packet: int) -> None:
    """Shown, staged and parked."""
    fits = setting("large", 3_000_000)
    assert apply("chat", [fits], using="mysql") == (1, 0, 0)
    assert apply("chat", [START, fits, END], using="mysql").applied == 1
    assert Setting.objects.using("mysql").get().data == '"' * 1_500_000
    subject = "x" * 7_000_000
    orphan = change(
        "commit", "c", author="nobody", subject=subject, authored_at="2024-01-01T00:00:00Z"
    )
    assert apply("h", [orphan], using="mysql") == (0, 1, 0)
    author = change("author", "nobody", commits=1)
    apply("h", [author], using="mysql")
    assert len(Commit.objects.using("mysql").get().subject) == len(subject)
    assert not ParkedChange.objects.using("mysql").exists()


def test_many_large_letters_and_parked_changes(packet: int) -> None:
    """None is too large by itself; together they are, and are not sent together."""
    text = "x" * 300_000
    refused = [change("setting", "k" * 300 + str(n), text=text) for n in range(80)]
    assert apply("chat", refused, using="mysql") == (0, 0, 80)
    assert all(len(each.body) > 300_000 for each in DeadLetter.objects.using("mysql"))
    moment = "2024-01-01T00:00:00Z"
    orphans = [
        change("commit", str(n), author="nobody", subject=text, authored_at=moment)
        for n in range(80)
    ]
    assert apply("h", orphans, using="mysql") == (0, 80, 0)
    authors = [change("author", "nobody", commits=1)]
    apply("h", authors, using="mysql")
    longer = [
        change("commit", str(n), author="nobody", subject=text + "y", authored_at=moment)
        for n in range(80)
    ]
    assert apply("h", longer, using="mysql") == (80, 0, 0)


def test_any_other_statement_is_refused_before_it_is_sent(packet: int) -> None:
    """With an error that is not an outage: the connection is still there."""
    with (
        pytest.raises(DataError, match="max_allowed_packet"),
        commit_transaction("mysql"),
        connections["mysql"].cursor() as cursor,
    ):
        cursor.execute("SELECT %s", ["x" * 20_000_000])
    with connections["mysql"].cursor() as cursor:
        cursor.execute("SELECT 1")


def test_sqlite_holds_it() -> None:
    """Twenty megabytes are shown, and staged."""
    raw = setting("big", 20_000_000)
    assert apply("chat", [raw], using="default") == (1, 0, 0)
    assert apply("chat", [START, raw, END], using="default").applied == 1
    assert not Generation.objects.using("default").exclude(purpose="dropped").exists()
