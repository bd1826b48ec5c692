"""Whatever a person has to fix stops the stream before anything of the batch is committed, and
says what it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connections

from durable_state import operations
from durable_state.consumer import commits
from durable_state.consumer.run import sync
from durable_state.consumer.watcher import Watcher
from durable_state.errors import OperationRefused
from durable_state.materializer.shown.shown import ShownRows
from durable_state.models import DeadLetter, Progress, Stream
from tests.app.models import Author
from tests.app.state_mappings import ScoreMapping
from tests.servers.misbehaving import Asked, MisbehavingServer, Reply, StreamReplies
from tests.tables import check, rows_of
from tests.wire import encode, insert

from .support.remote import random_items

pytestmark = pytest.mark.django_db(transaction=True)

Add = Callable[..., Stream]
Serve = Callable[..., Stream]


@pytest.fixture
def serve(misbehaving_server: MisbehavingServer, add_stream: Add) -> Serve:
    """Creates a stream of these items."""

    def make(items: list[Any], **values: Any) -> Stream:
        misbehaving_server.reply = StreamReplies([[encode(item) for item in items]])
        return add_stream(misbehaving_server.url + "/s", **values)

    return make


def halted(stream: Stream) -> str:
    """Syncs the stream, which has to halt visibly; returns the one line that says why."""
    with pytest.raises(OperationRefused) as refused:
        sync(stream, until_up_to_date=True)
    report = operations.report(stream)
    assert (report.status, report.stuck) == ("halted", True)
    line = " ".join(filter(None, (report.last_error, report.last_error_detail, report.action)))
    assert line in str(refused.value)
    assert "\n" not in line
    return line


def test_too_many_letters(serve: Serve, settings: Any) -> None:
    """Nothing of the batch that would pass the limit is written; with a higher limit, it
    continues there.
    """
    settings.DURABLE_STATE = {"BATCH_ROWS": 10, "DEAD_LETTER_LIMIT": 5}
    items = [insert("message", "a", {"text": "hi"})] * 10 + [
        insert("score", key, {"points": -2}) for key in ("1", "2", "-3", "007", "x", "1.0")
    ]
    stream = serve(items)
    line = halted(stream)
    assert "6 dead letters" in line
    assert "DEAD_LETTER_LIMIT = 5" in line
    assert (stream.ordinal, DeadLetter.objects.count()) == (10, 0)
    settings.DURABLE_STATE = {"DEAD_LETTER_LIMIT": 6}
    operations.resume(stream, actor="test")
    sync(stream, until_up_to_date=True)
    check(stream, items)


def test_an_error_in_a_mapping(
    database: str, serve: Serve, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the mapping's fault, not the message's: it is named, with the message, and makes no
    dead letter.
    """
    settings.DURABLE_STATE = {"BATCH_ROWS": 2}
    items = [
        insert("score", "1", {"points": 1}),
        insert("score", "2", {"points": 5}),
        insert("score", "-3", {"points": 1}),
    ]
    stream = serve(items, using=database)

    def prepare(self: Any, change: Any) -> Any:
        if change.key == "-3":
            raise LookupError("line\nbreak, nul\0, half\ud800")
        return original(self, change)

    original = ScoreMapping.prepare
    with monkeypatch.context() as patch:
        patch.setattr(ScoreMapping, "prepare", prepare)
        line = halted(stream)
    for part in ("ScoreMapping", "message 3", "score '-3'. LookupError: line", "restart"):
        assert part in line
    assert (stream.ordinal, len(rows_of(stream))) == (2, 2)
    assert not DeadLetter.objects.using(database).exists()
    operations.resume(stream, actor="test")
    sync(stream, until_up_to_date=True)
    check(stream, items)


@pytest.mark.parametrize("given", [5, [], {"nothing": 1}])
def test_a_mapping_that_gives_something_else(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, given: Any
) -> None:
    """Neither a dict of its fields nor None."""
    monkeypatch.setattr(ScoreMapping, "prepare", lambda self, change: given)
    stream = serve([insert("score", "1", {"points": 1})])
    assert "prepare() returned" in halted(stream)
    assert not DeadLetter.objects.exists()


def test_rows_that_somebody_else_made(serve: Serve) -> None:
    """A table without a stream field is not taken over silently, neither from the application
    nor from another stream.
    """
    Author.objects.create(key="mine", commits=7)
    items = [insert("author", "ada", {"commits": 1})]
    stream = serve(items)
    line = halted(stream)
    assert "app.Author" in line
    assert "--adopt" in line
    assert list(Author.objects.values_list("key", "commits")) == [("mine", 7)]
    Author.objects.all().delete()
    operations.resume(stream, actor="test")
    sync(stream, until_up_to_date=True)
    assert list(Author.objects.values_list("key", "commits")) == [("ada", 1)]
    other = serve(items)
    line = halted(other)
    assert stream.name in line
    assert Author.objects.count() == 1


@contextmanager
def renamed(database: str, there: str, back: str) -> Iterator[None]:
    """Alters the schema, and restores it."""
    with connections[database].cursor() as cursor:
        cursor.execute(there)
    try:
        yield
    finally:
        with connections[database].cursor() as cursor:
            cursor.execute(back)


@pytest.mark.parametrize(
    ("there", "back"),
    [
        (
            "ALTER TABLE app_setting RENAME TO app_gone",
            "ALTER TABLE app_gone RENAME TO app_setting",
        ),
        (
            "ALTER TABLE app_setting RENAME COLUMN data TO gone",
            "ALTER TABLE app_setting RENAME COLUMN gone TO data",
        ),
    ],
    ids=["table", "column"],
)
def test_tables_that_do_not_fit(
    database: str, serve: Serve, monkeypatch: pytest.MonkeyPatch, caplog: Any, there: str, back: str
) -> None:
    """A missing migration may run in a moment; after several attempts the stream halts, and no
    message is blamed.
    """
    monkeypatch.setattr("durable_state.transport.backoff.CAP", 0.02)
    items = random_items(8, 60)
    stream = serve(items, using=database)
    with renamed(database, there, back):
        line = halted(stream)
    assert "migration" in line
    assert "gone" in line or "app_setting" in line or "data" in line
    assert "Trying again" in caplog.text
    assert not DeadLetter.objects.using(database).exists()
    assert stream.ordinal == 0
    operations.resume(stream, actor="test")
    sync(stream, until_up_to_date=True)
    check(stream, items)


def test_refused_messages_are_in_the_log(serve: Serve, caplog: Any) -> None:
    """A Celery worker has no terminal: its log says it, not too often."""
    stream = serve([insert("score", str(n), {"points": "many"}) for n in range(3)])
    sync(stream, until_up_to_date=True)
    (said,) = [each.getMessage() for each in caplog.records if "refused" in each.getMessage()]
    assert f"{stream.name}: messages refused: 3, up to message 3" in said


def test_a_watcher_is_told_that_a_stream_is_retried_and_live_again(
    misbehaving_server: MisbehavingServer, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise `run` would print that a server is away, and never that it is back."""
    monkeypatch.setattr("durable_state.transport.backoff.CAP", 0.02)
    items = random_items(9, 30)
    stream = serve(items)
    well, asked = misbehaving_server.reply, []
    told: list[str] = []

    def away_at_first(request: Asked) -> Reply:
        asked.append(request)
        return Reply(503) if len(asked) == 1 else well(request)

    misbehaving_server.reply = away_at_first
    watcher = Watcher(progressed=lambda progress: told.append(progress.status))
    sync(stream, watcher=watcher, until_up_to_date=True)
    assert told[0] == "retrying"
    assert told[-1] == "live"


def test_an_error_that_nobody_expected_is_shown_and_tried_again(serve: Serve, caplog: Any) -> None:
    """It neither ends the worker nor goes unnoticed."""
    items = random_items(9, 30)
    stream = serve(items)
    seen: list[str] = []

    def fail_once(at: Progress) -> None:
        if not seen:
            seen.append("failed")
            raise RuntimeError("nobody expected this")

    sync(stream, watcher=Watcher(progressed=fail_once), until_up_to_date=True)
    check(stream, items)
    assert "nobody expected this" in caplog.text


def test_an_error_that_nobody_expected_and_that_stays(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After several attempts it halts and names the error, instead of trying for ever; later it
    continues from there.
    """
    monkeypatch.setattr("durable_state.transport.backoff.CAP", 0.02)
    items = random_items(9, 30)
    stream = serve(items)

    def fail(self: Any, *args: Any, **kwargs: Any) -> None:
        raise RuntimeError("nobody expected this")

    with monkeypatch.context() as patch:
        patch.setattr("durable_state.materializer.fold.Fold.apply", fail)
        line = halted(stream)
    assert "RuntimeError in fail, line" in line
    assert "nobody expected this" in line
    assert "log" in line
    operations.resume(stream, actor="test")
    sync(stream, until_up_to_date=True)
    check(stream, items)


def test_a_message_by_which_everything_fails(
    database: str, serve: Serve, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    """Once it is alone in a batch it becomes a letter, and everything before and after it is
    shown; it can be retried.
    """
    monkeypatch.setattr("durable_state.transport.backoff.CAP", 0.02)
    items = [insert("message", f"k{n}", {"text": "hi"}) for n in range(30)]
    items[17] = insert("message", "bad", {"text": "bad"})
    stream = serve(items, using=database)
    original = ShownRows.apply

    def fail(self: Any, entities: Any) -> None:
        puts = [each.put for some in entities.values() for each in some if each.put is not None]
        assert all(put.key != "bad" for put in puts), "nobody expected this"
        original(self, entities)

    with monkeypatch.context() as patch:
        patch.setattr(ShownRows, "apply", fail)
        patch.setattr(commits, "commit_ordinary", lambda *args, **kwargs: None)
        sync(stream, until_up_to_date=True)
    letter = DeadLetter.objects.using(database).get()
    assert (letter.key, letter.reason, letter.ordinal) == ("bad", "failed", 18)
    assert "AssertionError: nobody expected this" in letter.detail
    assert "message 18 is refused" in caplog.text
    assert len(rows_of(stream)) == 29
    assert operations.retry(letter, actor="test")
    assert len(rows_of(stream)) == 30
