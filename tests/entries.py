"""Compares the feed's entries with the rows: values reported without reading must equal the
rows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from durable_state.consumer import committing, optimistic
from durable_state.consumer.committed_signal import send_when_committed
from durable_state.feed.frames import encode_value
from durable_state.feed.rows import rows_by_key
from durable_state.materializer import Outcome
from durable_state.models import Stream
from durable_state.registry import registry
from durable_state.registry.written import represent_written

__all__ = ["entries_equal_the_rows", "held_against_the_rows"]


@pytest.fixture(autouse=True)
def entries_equal_the_rows(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Compares each commit, whichever way its rows were written.

    Returns the types that were reported without reading.
    """
    told: list[str] = []

    def checking(stream: Stream, revision: int, outcome: Outcome) -> None:
        held_against_the_rows(stream, outcome.written)
        told.extend(entity_type for entity_type, _ in outcome.written)
        send_when_committed(stream, revision, outcome)

    for way in (committing, optimistic):
        monkeypatch.setattr(way, "send_when_committed", checking)
    return told


def held_against_the_rows(stream: Stream, written: Mapping[tuple[str, str], Any]) -> None:
    """Compares the values that the writes report with the rows themselves."""
    for (entity_type, key), values in written.items():
        mapping = registry.find(entity_type, stream.name)
        assert mapping is not None
        rows = rows_by_key(mapping, mapping.rows(stream), [key])
        told = encode_value(represent_written(mapping, values))
        assert _ordered(told) == _ordered(encode_value(mapping.represent(rows[key])))


def _ordered(value: bytes) -> str:
    """A value as text in which 1, 1.0 and True differ, and the order of members does not count."""
    return json.dumps(json.loads(value), sort_keys=True)
