"""What is stored of an error for every reader of the stream, and what only for users who see the
rows.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import django.db
import pytest
from django.db import connections, transaction

from durable_state import operations
from durable_state.consumer.error_text import describe_error, full_stop
from durable_state.consumer.run import sync
from durable_state.errors import OperationRefused
from durable_state.models import Intent, Stream
from tests.app.models import Message, Page
from tests.app.state_mappings import MessageMapping
from tests.servers.misbehaving import MisbehavingServer, StreamReplies
from tests.wire import encode, insert

pytestmark = pytest.mark.django_db(transaction=True)

SECRET = "s3cret-value"


def refused_by(database: str, write: Callable[[], object]) -> django.db.Error:
    """The message of the database."""
    with pytest.raises(django.db.Error) as caught, transaction.atomic(using=database):
        write()
    return caught.value


def test_a_databases_refusal_of_a_row_is_named_without_its_values(database: str) -> None:
    """The table or the number stays; the value is in the detail, if the database gives it."""
    pages = Page.objects.using(database)
    pages.create(key=SECRET, slug="a")
    said = describe_error(refused_by(database, lambda: pages.create(key=SECRET, slug="b")))
    assert said.sentence.startswith("IntegrityError: ")
    assert SECRET not in said.sentence
    assert (SECRET in said.detail) == (database != "default")


@pytest.mark.parametrize(
    ("text", "ended"), [("no such table: x", "no such table: x."), ("Gone.", "Gone.")]
)
def test_a_sentence_ends_before_the_next_one(text: str, ended: str) -> None:
    """Databases leave it out, and advice follows the text."""
    assert full_stop(text) == ended


def test_a_value_that_no_column_takes(server_database: str) -> None:
    """The text of the database quotes it."""
    rows = Message.objects.using(server_database)
    write = lambda: rows.extra(where=["likes = CAST(%s AS DATE)"], params=[SECRET]).get()  # noqa: E731
    if server_database == "mysql":
        write = lambda: rows.create(room="r", key="k", text=SECRET * 9)  # noqa: E731
    said = describe_error(refused_by(server_database, write))
    assert SECRET not in said.sentence
    assert said.detail


@pytest.mark.parametrize("statement", ["SELECT * FROM nowhere", "SELECT nothing FROM app_page"])
def test_a_table_that_does_not_fit_is_named(database: str, statement: str) -> None:
    """Users who may only operate the stream have to learn which migration is missing."""

    def ask() -> None:
        with connections[database].cursor() as cursor:
            cursor.execute(statement)

    said = describe_error(refused_by(database, ask))
    assert ("nowhere" if "nowhere" in statement else "nothing") in said.sentence


def test_other_exceptions_say_where_but_not_what() -> None:
    """The place is part of the code; the text may be part of a row."""

    def fail() -> None:
        raise KeyError(SECRET)

    with pytest.raises(KeyError) as caught:
        fail()
    said = describe_error(caught.value)
    assert said.sentence.startswith("KeyError in fail, line ")
    assert said.sentence.endswith("consumer/test_error_text.py")
    assert SECRET in said.detail


def test_no_reader_of_the_stream_learns_a_value_from_its_errors(
    misbehaving_server: MisbehavingServer,
    add_stream: Callable[..., Stream],
    monkeypatch: pytest.MonkeyPatch,
    caplog: Any,
) -> None:
    """Neither in the status and its advice, nor in the audit trail, nor in the log."""
    caplog.set_level(logging.DEBUG, "durable_state")

    def prepare(self: Any, change: Any) -> Any:
        raise ValueError(f"cannot use {change.value}")

    monkeypatch.setattr(MessageMapping, "prepare", prepare)
    items = [insert("message", SECRET, {"text": SECRET})]
    misbehaving_server.reply = StreamReplies([[encode(item) for item in items]])
    stream = add_stream(misbehaving_server.url + "/s")
    with pytest.raises(OperationRefused, match="cannot use") as refused:
        sync(stream, until_up_to_date=True)
    assert SECRET in str(refused.value)  # whoever runs it has access to the tables
    operations.pause(stream, actor="ada")
    report = operations.report(stream)
    assert (report.last_error_type, SECRET in report.last_error_detail) == ("message", True)
    operations.resume(stream, actor="ada")
    told = f"{report.to_json()} {list(Intent.objects.values())} {caplog.text}"
    assert "ValueError" in told
    assert SECRET not in told


def test_too_many_letters_name_the_reason_only(
    misbehaving_server: MisbehavingServer, add_stream: Callable[..., Stream], settings: Any
) -> None:
    """The reason of the last one is a detail."""
    settings.DURABLE_STATE = {"DEAD_LETTER_LIMIT": 1}
    items = [insert("message", key, {"text": "x", "likes": SECRET}) for key in "ab"]
    misbehaving_server.reply = StreamReplies([[encode(item) for item in items]])
    stream = add_stream(misbehaving_server.url + "/s")
    with pytest.raises(OperationRefused):
        sync(stream, until_up_to_date=True)
    report = operations.report(stream)
    assert "the last was refused as type." in report.last_error
    assert SECRET not in f"{report.to_json()}"
    assert (report.last_error_type, SECRET in report.last_error_detail) == ("message", True)
