"""Each verb of the command: what it says, and how it fails."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, connections

from durable_state.consumer.migration_advice import what_to_migrate
from durable_state.management.commands.durable_state import Command
from durable_state.models import DeadLetter, Intent, Status, Stream
from durable_state.operations import verbs
from durable_state.testing import apply
from tests import leases
from tests.app.models import Author, Message
from tests.wire import RESET, message

pytestmark = pytest.mark.django_db

URL = "https://streams.example.org/v1/chat?token=secret"


def run(*words: str, **options: Any) -> str:
    """What the command writes to stdout."""
    out = io.StringIO()
    call_command("durable_state", *words, stdout=out, no_color=True, **options)
    return out.getvalue()


def answer(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Somebody at the keyboard (nobody, if ``text`` is empty)."""
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))


def test_add_says_what_it_did() -> None:
    """Without the secret in the query; the audit entry names the user and the machine."""
    said = run("add", "chat", URL, "--live", "long-poll", "--no-probe")
    shown = "https://streams.example.org/v1/chat?token=***"
    assert said.strip() == f"Added the stream chat: {shown}, live by long-poll."
    assert Stream.objects.get().url == URL
    assert Intent.objects.get().actor.startswith("manage.py by ")


NOWHERE = "http://127.0.0.1:9/chat?token=secret"


def test_add_and_edit_ask_the_server_once() -> None:
    """What they find is one line, and the stream is still added."""
    said = run("add", "chat", NOWHERE).splitlines()
    assert said[0] == "Added the stream chat: http://127.0.0.1:9/chat?token=***, live by SSE."
    assert said[1].startswith("http://127.0.0.1:9/chat?token=*** cannot be reached")
    said = run("edit", "chat", "--url", NOWHERE + "2", "--live", "long-poll").splitlines()
    assert said[0] == (
        "The stream chat is read from http://127.0.0.1:9/chat?token=***, live by long-poll, "
        "after message 0."
    )
    assert "cannot be reached" in said[1]
    assert len(said) == 2
    assert len(run("edit", "chat", "--live", "sse", "--no-probe").splitlines()) == 1
    assert Stream.objects.get().url == NOWHERE + "2"


def test_rows_can_be_taken_over_by_a_stream_that_is_there() -> None:
    """``add --adopt`` again, as the message of the halted stream advises; not with another URL."""
    Author.objects.create(key="a")
    run("add", "git", NOWHERE, "--no-probe")
    assert "continues after message 0" in run("add", "git", NOWHERE, "--adopt")
    with pytest.raises(CommandError, match="durable_state edit git --url URL"):
        run("add", "git", URL, "--adopt")
    with pytest.raises(CommandError, match="already"):
        run("add", "git", NOWHERE)


@pytest.mark.parametrize(
    "words",
    [
        ("edit", "nowhere", "--url", URL),
        ("edit", "nowhere"),
        ("add", "chat", "nonsense"),
        ("add", "not a name", URL),
        ("status", "nowhere"),
        ("pause", "nowhere"),
        ("resume", "nowhere"),
        ("reset", "nowhere"),
        ("remove", "nowhere"),
        ("sync", "nowhere"),
        ("verify", "nowhere"),
        ("verify", "nowhere", "--type", "x"),
        ("dead-letters", "list", "nowhere"),
        ("dead-letters", "retry", "--id", "7"),
        ("status", "--database", "nowhere"),
    ],
)
def test_what_cannot_be_done_is_one_clear_line(words: tuple[str, ...]) -> None:
    """And never a traceback."""
    with pytest.raises(CommandError) as error:
        run(*words)
    assert str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "words",
    [
        ("status", "nowhere"),
        ("status", "--database", "nowhere"),
        ("verify", "nowhere"),
        ("verify", "chat", "--type", "message"),
        ("dead-letters", "retry", "--id", "7"),
        ("dead-letters", "nowhere"),
        ("dead-letters", "burn", "chat"),
        ("edit", "chat"),
    ],
)
def test_what_could_not_be_found_out_is_no_finding(words: tuple[str, ...]) -> None:
    """Exit status 1 says that rows differ, or that a stream is stuck; 2, that it could not tell."""
    Stream.objects.create(name="chat", url="http://127.0.0.1:9/chat")
    with pytest.raises(CommandError) as error:
        run(*words)
    assert error.value.returncode == 2


@pytest.mark.django_db(transaction=True)
def test_a_server_that_is_away_is_no_difference() -> None:
    """A stream that cannot be read cannot be compared."""
    apply("chat", [message("1", "one")])
    Stream.objects.update(url="http://127.0.0.1:9/chat")
    with pytest.raises(CommandError) as error:
        run("verify", "chat")
    assert error.value.returncode == 2


@pytest.mark.django_db(transaction=True, databases="__all__")
def test_every_verb_works_on_the_named_database(database: str) -> None:
    """The others are left alone."""
    option = ("--database", database)
    run("add", "chat", URL, "--no-probe", *option)
    apply("chat", [message("1", "one"), message("2", "x" * 50)], using=database)
    assert "Paused chat at message 2" in run("pause", "chat", *option)
    assert "paused" in run("status", *option)
    assert "Resumed chat after message 2" in run("resume", "chat", *option)
    assert run("dead-letters", *option) == run("dead-letters", "list", *option)
    assert run("dead-letters", "chat", *option) == run("dead-letters", *option)
    assert "too" in run("dead-letters", "list", *option) or "length" in run(
        "dead-letters", "list", *option
    )
    assert "Discarded 1 dead letter." in run("dead-letters", "discard", "--no-input", *option)
    assert "replayed from its start" in run("reset", "chat", "--type", "message", *option)
    assert "and deleted 1 row." in run("remove", "chat", "--no-input", *option)
    assert not Stream.objects.using(database).exists()


def test_without_a_verb_it_lists_the_verbs(capsys: pytest.CaptureFixture[str]) -> None:
    """One line each, and exit status 2, as for anything that is not understood."""
    with pytest.raises(SystemExit) as exit_:
        Command().run_from_argv(["manage.py", "durable_state"])
    assert exit_.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert "  status        Shows how the streams are doing;" in "\n".join(lines)
    listed = [line.split()[0] for line in lines if line.startswith("  ") and line[2] != " "]
    assert listed == [
        "add",
        "edit",
        "subscribe",
        "pause",
        "resume",
        "reset",
        "remove",
        "sync",
        "run",
        "status",
        "verify",
        "dead-letters",
        "publish",
    ]


def test_status_is_a_table() -> None:
    """Aligned columns, the error below its stream, and what to do."""
    assert "no streams yet" in run("status")
    run("add", "chat", URL)
    run("add", "a-rather-long-name", URL)
    Stream.objects.filter(name="chat").update(
        status=Status.RETRYING, last_error="503 from\nthe server", action="Wait."
    )
    lines = run("status").splitlines()
    assert lines[0].split() == [
        "STREAM",
        "STATUS",
        "LAG",
        "MESSAGES",
        "APPLIED",
        "PARKED",
        "LETTERS",
        "OTHER",
        "SINCE",
    ]
    assert lines[1].index("new") == lines[4].index("retrying") == lines[0].index("STATUS")
    assert lines[2:4] == [
        "    no worker has taken it yet",
        "    → Start: manage.py durable_state run, or a Celery worker and beat",
    ]
    assert lines[5:] == ["    503 from\\nthe server", "    → Wait."]
    assert run("status", "chat").count("\n") == 4


def test_status_exits_with_1_when_one_is_stuck() -> None:
    """The table, or the JSON, is still written."""
    run("add", "chat", URL)
    Stream.objects.update(status=Status.HALTED, last_error="401")
    for words in ((), ("--json",)):
        out = io.StringIO()
        with pytest.raises(CommandError, match=r"chat \(401\)") as error:
            call_command("durable_state", "status", *words, stdout=out)
        assert error.value.returncode == 1
        assert "halted" in out.getvalue()


def test_status_as_json_is_the_contract() -> None:
    """A list of objects, nothing else on stdout."""
    run("add", "chat", URL)
    apply("chat", [message("1", "one"), message("2", "x" * 50), RESET])
    [shown] = json.loads(run("status", "--json"))
    assert shown.pop("since")
    assert shown.pop("lag_seconds") >= 0
    assert shown == {
        "name": "chat",
        "url": "https://streams.example.org/v1/chat?token=***",
        "status": "live",
        "stuck": False,
        "why": "",
        "offset": "test-3",
        "ordinal": 3,
        "revision": 1,
        "applied": 1,
        "parked": 0,
        "dead_letters": 0,
        "no_row": 0,
        "unregistered": 0,
        "control": 1,
        "superseded": 0,
        "progress": {"done": 3, "total": 3, "rate": 0.6, "seconds_left": 0.0},
        "holder": "",
        "last_error": "",
        "action": "",
    }


def test_remove_asks_before_it_destroys(monkeypatch: pytest.MonkeyPatch) -> None:
    """No, an empty line and a closed stdin leave everything as it is."""
    apply("chat", [message("1", "one")])
    for text in ("n\n", "\n", ""):
        answer(monkeypatch, text)
        with pytest.raises(CommandError, match="Nothing was done"):
            run("remove", "chat")
    assert Message.objects.count() == Stream.objects.count() == 1
    answer(monkeypatch, "yes\n")
    assert "and deleted 1 row." in run("remove", "chat")
    assert not Message.objects.exists()


def test_remove_can_keep_the_rows() -> None:
    """It says so."""
    apply("chat", [message("1", "one")])
    assert "kept its 1 row." in run("remove", "chat", "--keep-rows", "--no-input")
    assert Message.objects.count() == 1


def test_dead_letters_are_listed_retried_and_discarded(monkeypatch: pytest.MonkeyPatch) -> None:
    """By stream or by number; control sequences for terminals are shown as text."""
    apply("chat", [message("\x1b[31mred", "x" * 50), message("2", "y" * 50)])
    apply("other", [message("3", "z" * 50)])
    listed = run("dead-letters", "list", "chat")
    assert "\\x1b[31mred" in listed
    assert "\x1b" not in listed
    assert listed.count("\n") == 3
    with pytest.raises(CommandError, match="Still refused: 2"):
        run("dead-letters", "retry", "chat")
    letter = DeadLetter.objects.get(key="2")
    answer(monkeypatch, "n\n")
    with pytest.raises(CommandError, match="Nothing was done"):
        run("dead-letters", "discard", "--id", str(letter.pk))
    assert "Discarded 1" in run("dead-letters", "discard", "--id", str(letter.pk), "--no-input")
    assert "Discarded 2" in run("dead-letters", "discard", "--no-input")
    assert "There are no dead letters of chat." in run("dead-letters", "list", "chat")


def test_a_misspelt_act_is_not_taken_for_a_stream() -> None:
    """Unless there is a stream of that name."""
    with pytest.raises(CommandError, match="Did you mean retry"):
        run("dead-letters", "rety")
    Stream.objects.create(name="rety", url=URL)
    assert run("dead-letters", "rety") == "There are no dead letters of rety.\n"


STATUS = """
import django
from django.core.management import call_command
django.setup()
call_command("migrate", run_syncdb=True, verbosity=0)
call_command("durable_state", "status")
"""


def test_a_reader_that_has_seen_enough_ends_it_quietly(tmp_path: Path) -> None:
    """``durable_state status | head -1``: ends like a program that SIGPIPE kills, without a
    traceback.
    """
    reads_from, writes_to = os.pipe()
    os.close(reads_from)
    settings = {"DJANGO_SETTINGS_MODULE": "tests.management.support.scratch"}
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", STATUS],
        env=os.environ | settings | {"SCRATCH": str(tmp_path)},
        cwd=Path(__file__).parents[2],
        stdout=writes_to,
        stderr=subprocess.PIPE,
        timeout=100,
        check=False,
    )
    os.close(writes_to)
    assert (ended.returncode, ended.stderr) == (141, b"")


def test_a_retry_that_succeeds_says_so() -> None:
    """And exits with 0."""
    apply("chat", [message("1", "x" * 50)])
    letter = DeadLetter.objects.get()
    letter.body = bytes(letter.body).replace(b"x" * 50, b"short")
    letter.save()
    assert "1 accepted" in run("dead-letters", "retry", "--id", str(letter.pk))
    assert Message.objects.get().text == "short"


def test_a_database_that_is_not_migrated_is_one_clear_line() -> None:
    """It tells to migrate."""
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE durable_state_stream RENAME TO durable_state_elsewhere")
    with pytest.raises(CommandError, match="migrate --database default") as error:
        run("status")
    assert "\n" not in str(error.value)


def test_pause_says_where_the_worker_stopped_and_who_has_not_yet(
    monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    """It waits for the lease to be given back, and no longer than a worker needs to notice."""
    settings.DURABLE_STATE = {"LEASE_SECONDS": 30}
    stream = Stream.objects.create(name="chat", url=URL)
    token = leases.acquire(stream, "elsewhere:1:celery:abc")
    assert token is not None
    waited = iter((0.0, 1.0, 14.0, 16.0))
    monkeypatch.setattr(verbs, "monotonic", lambda: next(waited))
    monkeypatch.setattr(verbs, "sleep", lambda seconds: None)
    said = run("pause", "chat")
    assert said.startswith("Pausing chat: elsewhere:1:celery:abc is still committing a batch")
    assert list(waited) == []

    def stop(seconds: float) -> None:
        Stream.objects.update(ordinal=15)
        leases.give_back(stream, token)

    monkeypatch.undo()
    settings.DURABLE_STATE = {"LEASE_SECONDS": 30}
    monkeypatch.setattr(verbs, "sleep", stop)
    assert run("pause", "chat").startswith("Paused chat at message 15.")


@pytest.mark.django_db(transaction=True, databases="__all__")
def test_a_missing_table_names_its_app(database: str) -> None:
    """Whichever app it is in; for a missing column, the apps that the stream is mapped to."""
    with pytest.raises(DatabaseError) as missing:
        connections[database].cursor().execute("SELECT * FROM app_nothing")
    assert what_to_migrate(missing.value, "chat") == ""
    for model in (Author, Stream):
        table = model._meta.db_table
        quoted = connections[database].ops.quote_name(f"{table}_gone")
        with pytest.raises(DatabaseError) as missing:
            connections[database].cursor().execute(f"SELECT * FROM {quoted}")
        error = type(missing.value)(*(_named(each, table) for each in missing.value.args))
        found = what_to_migrate(error, "chat")
        assert f"makemigrations {model._meta.app_label}," in found
    with pytest.raises(DatabaseError) as missing:
        connections[database].cursor().execute("SELECT absent FROM app_author")
    assert "makemigrations app," in what_to_migrate(missing.value, "chat")
    with pytest.raises(DatabaseError) as missing:
        connections[database].cursor().execute("SELECT 1 +")
    assert what_to_migrate(missing.value, "chat") == ""


def _named(part: Any, table: str) -> Any:
    """As if the table itself were missing, which other tests need."""
    return part.replace(f"{table}_gone", table) if isinstance(part, str) else part
