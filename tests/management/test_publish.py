"""``publish`` appends one change, which comes back as a row."""

from __future__ import annotations

import gc
import io
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings

from durable_state import operations
from durable_state.errors import ConfigurationError, StreamNotFound
from durable_state.models import Stream
from tests.app.models import Message
from tests.servers.process import StreamServer

pytestmark = pytest.mark.django_db(transaction=True)


def run(*words: str, **options: Any) -> str:
    """What the command writes to stdout."""
    out = io.StringIO()
    call_command("durable_state", *words, stdout=out, no_color=True, **options)
    return out.getvalue()


def keys() -> list[str]:
    """The rows, once the stream was read to its tail."""
    run("sync", "chat", "--until-up-to-date")
    return sorted(Message.objects.values_list("key", flat=True))


def test_what_is_published_becomes_rows(rakaia_server: StreamServer) -> None:
    """The stream is created if it is missing; a delete needs no value."""
    run("add", "chat", rakaia_server.stream("chat"), "--no-probe")
    said = run("publish", "chat", "message", "1", '{"text": "one"}', "--create")
    assert said == "Appended to chat: upsert message 1.\n"
    operations.publish(Stream.objects.get(), "message", "2", {"text": "two"}, operation="insert")
    assert keys() == ["1", "2"]
    run("publish", "chat", "message", "1", "--operation", "delete")
    assert keys() == ["2"]
    assert Message.objects.get().text == "two"


def test_a_mistyped_type_is_pointed_out(rakaia_server: StreamServer) -> None:
    """It is appended all the same: it may be another project's."""
    run("add", "chat", rakaia_server.stream("chat"), "--no-probe")
    warned = io.StringIO()
    said = run("publish", "chat", "mesage", "1", "{}", "--create", stderr=warned)
    assert said == "Appended to chat: upsert mesage 1.\n"
    assert warned.getvalue().startswith('No mapping serves the type "mesage" in chat')
    assert "message" in warned.getvalue()
    silent = io.StringIO()
    run("publish", "chat", "message", "1", '{"text": "one"}', stderr=silent)
    assert not silent.getvalue()


def test_what_cannot_be_published(rakaia_server: StreamServer) -> None:
    """A value that is not JSON, no value, a missing stream, a URL that is not allowed."""
    run("add", "chat", rakaia_server.stream("missing"), "--no-probe")
    for words, told in [
        (("1", "{text: one}"), "The value is not JSON"),
        (("1", '{"price": NaN}'), "JSON has no NaN"),
        (("1",), "Give a value, or --operation delete"),
        (("1", "{}"), "answered 404.* pass --create"),
    ]:
        with pytest.raises(CommandError, match=told):
            run("publish", "chat", "message", *words)
    stream = Stream.objects.get()
    with pytest.raises(StreamNotFound):
        operations.publish(stream, "message", "1", {})
    allowed = override_settings(DURABLE_STATE={"ALLOWED_URLS": ["https://streams.example.org/"]})
    with allowed, pytest.raises(ConfigurationError):
        operations.publish(stream, "message", "1", {})


def test_a_program_that_syncs_keeps_its_collector(rakaia_server: StreamServer) -> None:
    """Garbage that is not collected while the command runs is collected again afterwards."""
    run("add", "chat", rakaia_server.stream("chat"), "--no-probe")
    run("publish", "chat", "message", "1", '{"text": "one"}', "--create")
    thresholds = gc.get_threshold()
    assert keys() == ["1"]
    assert (gc.get_freeze_count(), gc.get_threshold()) == (0, thresholds)
