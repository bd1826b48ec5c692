"""Types that were registered later, or are now mapped differently, say so, and a reset folds
them from the start.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from durable_state import EntityMapping, operations
from durable_state.consumer.run import sync
from durable_state.models import Stream, TypeState
from durable_state.registry import registry
from tests.app import models
from tests.app.state_mappings import FileMapping, MessageMapping
from tests.mappings import remap
from tests.servers.process import StreamServer
from tests.wire import insert

from .support.remote import RemoteStream

pytestmark = pytest.mark.django_db(transaction=True)

Add = Callable[..., Stream]


class GhostMapping(EntityMapping):
    model = models.File
    key_field = "path"
    fields = {"blob": "body"}


class LoudMapping(MessageMapping):
    version = 2

    def prepare(self, change: Any) -> Any:
        raw = super().prepare(change)
        return raw and raw | {"text": raw["text"].upper()}


def test_a_type_that_is_registered_later(reference_server: StreamServer, add_stream: Add) -> None:
    """Its messages are counted, never lost; a part of its rows is never shown as if it were all."""
    remote = RemoteStream(reference_server.stream())
    remote.append(
        [
            insert("ghost", "a", {"body": "1"}),
            insert("message", "m", {"text": "hi"}),
            insert("ghost", "b", {"body": "2"}),
        ]
    )
    stream = add_stream(remote.url)
    sync(stream, until_up_to_date=True)
    assert (stream.unregistered_count, stream.applied_count) == (2, 1)
    assert TypeState.objects.get(type="ghost").unregistered == 2
    assert operations.report(stream).status == "up-to-date"

    registry.remove(FileMapping)
    registry.add("ghost", GhostMapping)
    report = operations.report(stream)
    assert (report.status, report.stuck) == ("needs-reset", True)
    assert report.action == f"manage.py durable_state reset {stream.name} --type ghost"
    remote.append([insert("ghost", "c", {"body": "3"}), insert("message", "m", {"text": "ho"})])
    sync(stream, until_up_to_date=True)
    assert not models.File.objects.exists()
    assert models.Message.objects.get().text == "ho"
    assert operations.report(stream).status == "needs-reset"

    operations.reset(stream, actor="test", entity_type="ghost")
    assert operations.report(stream).status == "rebuilding"
    sync(stream, until_up_to_date=True)
    assert sorted(models.File.objects.values_list("path", "blob")) == [
        ("a", "1"),
        ("b", "2"),
        ("c", "3"),
    ]
    assert (stream.unregistered_count, stream.applied_count, stream.ordinal) == (0, 5, 5)
    report = operations.report(stream)
    assert (report.status, report.stuck) == ("up-to-date", False)
    assert not TypeState.objects.filter(needs_reset=True).exists()
    remote.append([insert("ghost", "d", {"body": "4"})])
    sync(stream, until_up_to_date=True)
    assert models.File.objects.count() == 4


def test_a_mapping_whose_version_was_raised(
    reference_server: StreamServer, add_stream: Add
) -> None:
    """New messages are mapped by the current mapping; the old rows wait for the reset, and keep
    their primary keys.
    """
    remote = RemoteStream(reference_server.stream())
    remote.append([insert("message", "old", {"text": "hi"}), insert("setting", "s", 1)])
    stream = add_stream(remote.url)
    sync(stream, until_up_to_date=True)
    pk = models.Message.objects.get().pk
    remap("message", LoudMapping)
    assert operations.report(stream).status == "needs-reset"
    remote.append([insert("message", "new", {"text": "ho"})])
    sync(stream, until_up_to_date=True)
    assert TypeState.objects.get(type="message").needs_reset
    assert sorted(models.Message.objects.values_list("key", "text")) == [
        ("new", "HO"),
        ("old", "hi"),
    ]
    operations.reset(stream, actor="test")
    sync(stream, until_up_to_date=True)
    assert sorted(models.Message.objects.values_list("key", "text")) == [
        ("new", "HO"),
        ("old", "HI"),
    ]
    assert models.Message.objects.get(key="old").pk == pk
    assert operations.report(stream).status == "up-to-date"


def test_a_type_whose_mapping_is_taken_away(
    reference_server: StreamServer, add_stream: Add
) -> None:
    """Its rows stay as they are, new messages are counted, and once it is back a reset is
    needed.
    """
    remote = RemoteStream(reference_server.stream())
    remote.append([insert("message", "a", {"text": "hi"})])
    stream = add_stream(remote.url)
    sync(stream, until_up_to_date=True)
    with registry.isolated():
        registry.remove(MessageMapping)
        remote.append([insert("message", "a", {"text": "ho"})])
        sync(stream, until_up_to_date=True)
        assert stream.unregistered_count == 1
    assert models.Message.objects.get().text == "hi"
    assert operations.report(stream).status == "needs-reset"
    operations.reset(stream, actor="test")
    sync(stream, until_up_to_date=True)
    assert models.Message.objects.get().text == "ho"
    assert operations.report(stream).status == "up-to-date"
