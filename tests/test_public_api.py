"""The names that projects import: adding one is a decision, removing one breaks projects."""

from __future__ import annotations

import subprocess
import sys

import pytest

import durable_state
from durable_state import testing
from durable_state.models import Stream
from durable_state.testing import change

PUBLIC = ["EntityChange", "EntityMapping", "StatePolicy", "camel_case", "register"]


def test_exports() -> None:
    """Exactly these names, and all of them are there."""
    assert sorted(durable_state.__all__) == PUBLIC
    for name in PUBLIC:
        assert getattr(durable_state, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        getattr(durable_state, "nothing")  # noqa: B009  it goes through the module's __getattr__


def test_importing_the_package_needs_no_django_settings() -> None:
    """INSTALLED_APPS imports it before models are ready, and tools import it without a project."""
    code = "import durable_state.protocol, durable_state.transport, durable_state.errors"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.django_db
def test_a_stream_needs_a_name_and_a_url_only() -> None:
    """``Stream.objects.create(name=..., url=...)`` is all that it takes to begin."""
    stream = Stream.objects.create(name="chat", url="https://streams.example.org/chat")
    assert (stream.live, stream.paused, stream.status, stream.ordinal) == ("sse", False, "new", 0)


@pytest.mark.django_db
def test_apply_works_inside_a_test_case() -> None:
    """The testing helper accepts dicts and raw bytes, and says what became of them."""
    insert = {
        "type": "message",
        "key": "1",
        "value": {"text": "hi"},
        "headers": {"operation": "insert"},
    }
    refused = b'{"type":"message","key":"1","value":{"text":5},"headers":{"operation":"update"}}'
    assert testing.apply("chat", [insert, refused, 5]) == (1, 0, 2)
    assert testing.apply("chat", [insert]).applied == 1


def test_changes_for_tests_are_built_as_on_the_wire() -> None:
    """With the given operation and headers; a delete without a value."""
    made = change("task", "t1", {"done": True}, txid="x")
    headers = {"operation": "upsert", "txid": "x"}
    assert made == {"type": "task", "key": "t1", "value": {"done": True}, "headers": headers}
    assert change("task", "t1", operation="delete") == {
        "type": "task",
        "key": "t1",
        "headers": {"operation": "delete"},
    }
