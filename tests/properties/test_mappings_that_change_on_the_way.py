"""Mappings that change in the middle of a stream's history: after a reset, of the types or of
all, the rows are what the new mappings make of all of it.
"""

from __future__ import annotations

from typing import Any

import pytest
from django.db import transaction
from hypothesis import given
from hypothesis import strategies as st

from durable_state.consumer import commit, hand_over, release
from durable_state.consumer.replay import advance, begin_replay
from durable_state.consumer.type_replay import hand_over_type
from durable_state.materializer import prepare_batch
from durable_state.models import Replay, Stream, TypeState
from durable_state.protocol import Position, decode
from durable_state.transport import Batch
from tests.app.grove_mappings import BranchMapping, LeafMapping
from tests.examples import lenient
from tests.mappings import remap
from tests.wire import END, encode

from .support.folding import fold
from .support.grove import (
    add_the_applications_own,
    check_identities,
    check_rows,
    grove,
    held_throughout,
    look,
    streams,
)
from .support.hiding import HidingBranches, hiding

pytestmark = [
    pytest.mark.django_db(transaction=True, databases="__all__"),
    pytest.mark.usefixtures("writer"),
]


def by_the_new_mappings(message: dict[str, Any], before: Any) -> Any:
    """Branches ``x`` are hidden, leaves have all their fields."""
    return hiding(message, before) if message["type"] == "branch" else message["value"]


def live(stream: Stream, messages: list[dict[str, Any]]) -> None:
    """Commits a batch of the live reader."""
    ordinal = stream.ordinal + len(messages)
    decoded = [decode(encode(message)) for message in messages]
    prepared = prepare_batch(stream, decoded, stream.ordinal)
    commit(stream, prepared, Batch([], Position(f"o{ordinal}", 0, ordinal), True), token=None)


class Replaying:
    """A replay of the stream, or of one type of it, beside the live reader."""

    def __init__(self, stream: Stream, entity_type: str) -> None:
        self.stream = stream
        with transaction.atomic(using=stream.using):
            self.replay: Replay = begin_replay(stream, entity_type)

    def read(self, messages: list[dict[str, Any]]) -> None:
        """Stages what follows of all messages so far."""
        ordinal = len(messages)
        decoded = [decode(encode(message)) for message in messages[self.replay.ordinal :]]
        prepared = prepare_batch(self.stream, decoded, self.replay.ordinal)
        batch = Batch([], Position(f"r{ordinal}", 0, ordinal))
        advance(self.replay, self.stream, prepared, batch, token=None)

    def show(self) -> None:
        """Hands over at the tail."""
        self.stream.refresh_from_db()
        seen = self.stream.revision
        if self.replay.entity_type:
            batch = Batch([], self.replay.position, True)
            done = hand_over_type(self.stream, self.replay, batch, seen, token=None)
        else:
            done = hand_over(self.stream, self.replay, seen, token=None)
        assert done is not None


@lenient(25)
@given(
    stream_of=streams(["branch", "leaf", "leaf"], with_controls=True),
    places=st.tuples(*[st.integers(0, 16)] * 3),
    resets=st.sampled_from([["branch", "leaf"], ["leaf", "branch"], [""]]),
)
def test_a_reset_makes_up_for_it(
    database: str,
    stream_of: tuple[list[dict[str, Any]], list[int]],
    places: tuple[int, int, int],
    resets: list[str],
) -> None:
    """A further field of the leaves, and a new version of ``prepare`` of the branches; the reset
    begins in the middle, while the live reader continues, and snapshots occur in both.
    """
    messages, cuts = stream_of
    first, changed, reset = sorted(min(place, len(messages)) for place in places)
    messages = [*messages, END]
    bounds = sorted({*cuts, first, changed, reset, len(messages)})

    remap("branch", BranchMapping)
    remap("leaf", LeafMapping, fields=["branch"])
    with grove(database) as stream:
        replaying: Replaying | None = None
        before = look(stream)
        for start, end in zip([0, *bounds], bounds, strict=False):
            if start < end:
                live(stream, messages[start:end])
            if end == first:
                add_the_applications_own(database)
                before = look(stream)
            if end == changed:
                remap("branch", HidingBranches, version=2)
                remap("leaf", LeafMapping)
            if end == reset:
                replaying = Replaying(stream, resets[0])
            elif replaying is not None:
                replaying.read(messages[:start])
        assert replaying is not None
        replaying.read(messages)
        replaying.show()
        for entity_type in resets[1:]:
            replaying = Replaying(stream, entity_type)
            replaying.read(messages)
            replaying.show()
        release(stream, None)

        seen = look(stream)
        assert not seen.letters
        assert not TypeState.objects.using(database).filter(needs_reset=True).exists()
        check_rows(seen, fold(messages, by_the_new_mappings))
        held = held_throughout(messages, first, by_the_new_mappings)
        check_identities(before, seen, held)
