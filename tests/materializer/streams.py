"""What tests do with a whole stream: bracket it, fold it again, count it up, map it otherwise."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import transaction

from durable_state import EntityMapping
from durable_state.consumer.replay import begin_replay
from durable_state.models import Generation, Stream
from durable_state.registry import registry

__all__ = ["END", "RESET", "START", "adds_up", "remap", "replay"]

START, END, RESET = (
    {"headers": {"control": kind}} for kind in ("snapshot-start", "snapshot-end", "reset")
)


def replay(name: str, using: str) -> None:
    """Puts the stream back to its start, beside the rows that are shown."""
    with transaction.atomic(using=using):
        begin_replay(Stream.objects.using(using).get(name=name))


def adds_up(name: str, using: str) -> None:
    """Each message of the stream is counted once: in a counter, or in a generation that is still folded."""
    stream = Stream.objects.using(using).get(name=name)
    counts = {
        f.name: getattr(stream, f.name) for f in Stream._meta.fields if f.name.endswith("_count")
    }
    staged = sum(each.changes for each in Generation.objects.using(using).filter(stream=stream))
    assert sum(counts.values()) + staged == stream.ordinal, (counts, staged)
    assert min(counts.values()) >= 0, counts


def remap(
    monkeypatch: pytest.MonkeyPatch,
    entity_type: str,
    mapping_class: type[EntityMapping] | None,
    **attributes: Any,
) -> None:
    """Maps a type by a variant of the class, in place of what mapped it; None: the type is not registered."""
    kept = [each for each in registry if each.entity_type != entity_type]
    if mapping_class is not None:
        mapping = type("Variant", (mapping_class,), attributes)(entity_type)
        mapping.registry = registry
        kept.append(mapping)
    monkeypatch.setattr(registry, "_mappings", kept)
