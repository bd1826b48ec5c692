"""`sync` and `verify` against a real stream server."""

from __future__ import annotations

import io
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connections

from durable_state.models import Status, Stream
from durable_state.registry import registry
from tests import leases
from tests.app.models import Message
from tests.servers.process import StreamServer
from tests.wire import message

from .support.publishing import make, publish

pytestmark = pytest.mark.django_db(transaction=True)


def run(*words: str) -> str:
    """What the command writes to stdout."""
    out = io.StringIO()
    call_command("durable_state", *words, stdout=out, no_color=True)
    return out.getvalue()


def rows(using: str = "default") -> list[tuple[Any, ...]]:
    """The messages of the stream, by key."""
    return list(Message.objects.using(using).order_by("key").values_list("key", "text"))


@pytest.mark.django_db(transaction=True, databases="__all__")
def test_a_stream_is_synced_verified_damaged_and_mended(
    rakaia_server: StreamServer, database: str
) -> None:
    """Each step says what it found; a reset makes the rows equal the fold again."""
    url = rakaia_server.stream("chat")
    publish(
        url, message("1", "one"), message("2", "two"), message("3", "x" * 50), message("1", "eins")
    )
    option = ("--database", database)
    run("add", "chat", url, *option)
    said = run("sync", "chat", "--until-up-to-date", *option)
    assert said.startswith("chat is up to date. 4 messages: 3 applied, 1 dead letter.")
    assert rows(database) == [("1", "eins"), ("2", "two")]
    assert "equal its stream, up to message 4" in run("verify", "chat", *option)
    Message.objects.using(database).filter(key="1").update(text="forged")
    Message.objects.using(database).filter(key="2").delete()
    Message.objects.using(database).create(room="chat", key="9", text="extra")
    out = io.StringIO()
    with pytest.raises(CommandError, match="durable_state reset chat") as error:
        call_command("durable_state", "verify", "chat", "--json", *option, stdout=out)
    assert error.value.returncode == 1
    assert json.loads(out.getvalue())["message"] == {"missing": 1, "extra": 1, "changed": 1}
    run("reset", "chat", *option)
    run("sync", "chat", "--until-up-to-date", *option)
    assert rows(database) == [("1", "eins"), ("2", "two")]
    assert json.loads(run("verify", "chat", "--json", *option))["message"] == {
        "missing": 0,
        "extra": 0,
        "changed": 0,
    }


def test_verify_tells_the_story_of_an_entity(rakaia_server: StreamServer) -> None:
    """Each change, what became of it, the expected row and the actual row."""
    url = rakaia_server.stream("chat")
    publish(url, message("1", "one"), message("2", "two"), message("1", "x" * 50))
    run("add", "chat", url)
    run("sync", "chat", "--until-up-to-date")
    told = run("verify", "chat", "--type", "message", "--key", "1").splitlines()
    assert len([line for line in told if "insert" in line]) == 2
    assert any("too-long" in line for line in told)
    assert any(line.startswith("row expected:") and "one" in line for line in told)
    assert any(line.startswith("row found:") and "one" in line for line in told)


def test_a_stream_of_text_is_told_at_once(rakaia_server: StreamServer) -> None:
    """It halts with one clear line; `status` says the same."""
    url = rakaia_server.stream("text")
    make(url, "text/plain")
    run("add", "text", url)
    with pytest.raises(CommandError, match="application/json") as error:
        run("sync", "text", "--until-up-to-date")
    assert "\n" not in str(error.value)
    with pytest.raises(CommandError, match="Stuck: text"):
        run("status")


def test_sync_waits_for_a_lease_and_names_its_holder(
    rakaia_server: StreamServer, capfd: pytest.CaptureFixture[str]
) -> None:
    """And continues as soon as it is free."""
    url = rakaia_server.stream("chat")
    publish(url, message("1", "one"))
    run("add", "chat", url)
    stream = Stream.objects.get()
    token = leases.acquire(stream, "elsewhere:1:celery:abc")
    assert token is not None

    def give_back() -> None:
        time.sleep(1.5)
        leases.give_back(stream, token)
        connections.close_all()

    thread = threading.Thread(target=give_back)
    thread.start()
    run("sync", "chat", "--until-up-to-date")
    thread.join()
    assert "elsewhere:1:celery:abc" in capfd.readouterr().err
    assert rows() == [("1", "one")]


PROCESS = """
import django
from django.core.management import call_command
django.setup()
call_command("migrate", run_syncdb=True, verbosity=0)
call_command("durable_state", "add", "chat", {url!r})
call_command("durable_state", "sync", "chat")
"""


def test_sync_follows_the_stream_until_it_is_told_to_stop(
    rakaia_server: StreamServer, tmp_path: Path
) -> None:
    """As a separate process: what is appended meanwhile arrives, and a signal ends it cleanly."""
    url = rakaia_server.stream("chat")
    publish(url, message("1", "one"))
    environment = os.environ | {
        "DJANGO_SETTINGS_MODULE": "tests.management.support.scratch",
        "SCRATCH": str(tmp_path),
    }
    with subprocess.Popen(
        [sys.executable, "-c", PROCESS.format(url=url)],
        env=environment,
        cwd=Path(__file__).parents[2],
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as following:
        try:
            assert following.stderr is not None
            assert following.stderr.readline().startswith("chat: 1 message · 1 applied")
            publish(url, message("2", "two"))
            with closing(sqlite3.connect(tmp_path / "scratch.sqlite3", timeout=20)) as database:
                for _ in range(200):
                    if database.execute("SELECT ordinal FROM durable_state_stream").fetchone() == (
                        2,
                    ):
                        break
                    time.sleep(0.1)
            following.send_signal(signal.SIGTERM)
            said, wrong = following.communicate(timeout=30)
        finally:
            following.kill()
    assert following.returncode == 0, wrong
    assert "Stopped following chat. 2 messages: 2 applied." in said
    assert "Traceback" not in wrong


RUN = """
import django
from django.core.management import call_command
django.setup()
call_command("migrate", run_syncdb=True, verbosity=0)
{add}
call_command("durable_state", "run", verbosity={verbosity}, no_color=True)
"""


@contextmanager
def running(tmp_path: Path, add: str, verbosity: int) -> Iterator[Callable[[str], str]]:
    """``run`` as a separate process; returns a function that reads its lines up to one with the
    words.
    """
    environment = os.environ | {
        "DJANGO_SETTINGS_MODULE": "tests.management.support.scratch",
        "SCRATCH": str(tmp_path),
    }
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", RUN.format(add=add, verbosity=verbosity)],
        env=environment,
        cwd=Path(__file__).parents[2],
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        assert process.stdout is not None
        lines = iter(process.stdout.readline, "")

        def read_to(words: str) -> str:
            read = ""
            for line in lines:
                read += line
                if words in line:
                    return read
            raise AssertionError(f"{words!r} was not said: {read}")

        try:
            yield read_to
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(30)


def test_run_says_what_it_does(rakaia_server: StreamServer, tmp_path: Path) -> None:
    """Streams, states, commits and refused messages, each at once and once."""
    url = rakaia_server.stream("chat")
    publish(url, message("1", "one"), message("2", "two"))
    text = rakaia_server.stream("text")
    make(text, "text/plain")
    adding = "".join(
        f"call_command('durable_state', 'add', {name!r}, {at!r}, probe=False)\n"
        for name, at in (("chat", url), ("text", text))
    )
    with running(tmp_path, adding, 2) as read_to:
        said = read_to("chat: live, 2 messages read")
        assert "Consuming 2 streams." in said
        assert "chat: taken, after 0 messages" in said
        assert "chat: +2 at message 2 · rows: message 2 · " in said
        publish(url, message("3", "x" * 50))
        said += read_to(
            "chat: 1 message refused, up to message 3: manage.py durable_state dead-letters chat"
        )
        publish(url, message("4", "four"))
        said += read_to("chat: +1 at message 4 · rows: message 1")
        assert said.count("chat: live") == 1
    assert said.count("text: halted: ") == 1


def test_run_names_every_message(rakaia_server: StreamServer, tmp_path: Path) -> None:
    """Including those without a mapping, as soon as the first of a type arrives."""
    url = rakaia_server.stream("tasks")
    publish(url, message("1", "one"), *(message(key, "x") | {"type": "messages"} for key in "23"))
    adding = f"call_command('durable_state', 'add', 'tasks', {url!r}, probe=False)\n"
    with running(tmp_path, adding, 1) as read_to:
        said = read_to("tasks: 3 messages: 1 applied, 2 of types without a mapping (messages 2)")
        assert 'tasks: no mapping for the type "messages"; such messages are skipped' in said
        publish(
            url, message("4", "x") | {"type": "messages"}, message("5", "x") | {"type": "other"}
        )
        said = read_to('no mapping for the type "other"')
        assert '"messages"' not in said


def test_sync_and_verify_are_not_green_where_nothing_is_mapped(
    rakaia_server: StreamServer,
) -> None:
    """A misspelt type: each says what became of every message, and what may have been meant."""
    url = rakaia_server.stream("tasks")
    publish(url, *(message(key, "x") | {"type": "messages"} for key in "123"))
    run("add", "tasks", url)
    said = run("sync", "tasks", "--until-up-to-date")
    account = "3 messages: 0 applied, 3 of types without a mapping (messages 3)"
    assert said.startswith(f"tasks is unmapped. {account}.")
    assert "then: manage.py durable_state reset tasks" in said
    assert 'did you mean @register("messages")? There is no "message" in the stream' in said
    with pytest.raises(CommandError, match="nothing of it is mapped") as stuck:
        run("status")
    assert stuck.value.returncode == 1
    with pytest.raises(
        CommandError, match="so there are no rows to compare: 3 messages: 0"
    ) as none:
        run("verify", "tasks")
    assert none.value.returncode == 2

    publish(url, message("1", "one"), message("2", "two"))
    assert "is up to date. 5 messages: 2 applied, 3 of" in run(
        "sync", "tasks", "--until-up-to-date"
    )
    verified = run("verify", "tasks")
    assert "equal its stream, up to message 5: compared 2 rows (message 2)." in verified
    assert "5 messages: 2 applied, 3 of types without a mapping (messages 3)." in verified


def test_verify_refuses_where_the_mapping_is_gone(rakaia_server: StreamServer) -> None:
    """Messages that yesterday's mapping applied leave nothing to compare today."""
    url = rakaia_server.stream("chat")
    publish(url, message("1", "one"))
    run("add", "chat", url)
    run("sync", "chat", "--until-up-to-date")
    registry.clear()
    with pytest.raises(CommandError, match="Nothing of the stream 'chat' is mapped") as none:
        run("verify", "chat")
    assert none.value.returncode == 2


def test_sync_says_that_a_stream_needs_a_reset(rakaia_server: StreamServer) -> None:
    """In English, and what to do."""
    url = rakaia_server.stream("chat")
    publish(url, message("1", "one"))
    run("add", "chat", url)
    with registry.isolated():
        registry.clear()
        run("sync", "chat", "--until-up-to-date")
    said = run("sync", "chat", "--until-up-to-date")
    assert said.startswith("chat needs a reset. 1 message: 0 applied, 1 from before")
    assert "→ manage.py durable_state reset chat --type message" in said


def test_sync_says_what_a_stream_is_being_retried_for(
    rakaia_server: StreamServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """A failure that continues is logged once; whoever comes later still learns about it."""
    url = rakaia_server.stream("chat")
    publish(url, message("1", "one"))
    stream = Stream.objects.create(
        name="chat",
        url=url,
        status=Status.RETRYING,
        last_error="The server was away.",
    )
    run("sync", stream.name, "--until-up-to-date")
    assert "chat: The server was away. Trying again." in capsys.readouterr().err


def test_run_says_that_a_stream_is_live_also_where_nothing_is_new(
    rakaia_server: StreamServer, tmp_path: Path
) -> None:
    """As after each start of a worker."""
    url = rakaia_server.stream("chat")
    publish(url, message("1", "one"))
    adding = f"""
call_command('durable_state', 'add', 'chat', {url!r}, probe=False)
call_command('durable_state', 'sync', 'chat', until_up_to_date=True)
"""
    with running(tmp_path, adding, 1) as read_to:
        said = read_to("chat: live, 1 message read")
    assert "chat: taken, after 1 message" in said


def test_two_runs_share_the_streams(rakaia_server: StreamServer, tmp_path: Path) -> None:
    """The first one gives up half of its streams, and says so; afterwards it has them again."""
    adding = ""
    for number in range(4):
        url = rakaia_server.stream(f"shared-{number}")
        publish(url, message("1", "one"))
        adding += f"call_command('durable_state', 'add', 's{number}', {url!r}, probe=False)\n"
    with running(tmp_path, adding, 1) as first:
        for _ in range(4):
            first("live, 1 message read")
        with running(tmp_path, "", 1) as second:
            for _ in range(2):
                first("handed to another worker, to share the load evenly")
                second("taken, after 1 message")
        for _ in range(2):
            first("taken, after 1 message")


def test_run_says_that_there_is_nothing_to_do(tmp_path: Path) -> None:
    """Rather than nothing."""
    with running(tmp_path, "", 1) as read_to:
        assert "Consuming 0 streams" in read_to(
            "Waiting for one: manage.py durable_state add NAME URL"
        )


def test_a_halt_is_told_once(
    rakaia_server: StreamServer, capfd: pytest.CaptureFixture[str]
) -> None:
    """By the command's error, and not by the log's last resort as well; retries are logged."""
    url = rakaia_server.stream("text")
    make(url, "text/plain")
    run("add", "text", url, "--no-probe")
    with pytest.raises(CommandError, match="application/json"):
        run("sync", "text", "--until-up-to-date")
    assert "application/json" not in capfd.readouterr().err


def test_verify_and_a_switch_show_how_far_they_are(
    rakaia_server: StreamServer, capfd: pytest.CaptureFixture[str]
) -> None:
    """With their ends, which are known."""
    url = rakaia_server.stream("chat")
    publish(url, *(message(str(number), "x") for number in range(30)))
    run("add", "chat", url, "--no-probe")
    run("sync", "chat", "--until-up-to-date")
    run("reset", "chat")
    capfd.readouterr()
    run("sync", "chat", "--until-up-to-date")
    said = capfd.readouterr().err
    assert "the replay of chat: 30 of 30 messages (100 %)" in said
    assert "showing the replay of chat: 30 of 30 rows (100 %)" in said
    run("verify", "chat")
    said = capfd.readouterr().err
    assert "replaying chat: 30 of 30 messages (100 %)" in said
    assert "comparing chat: 30 of 30 rows (100 %)" in said
