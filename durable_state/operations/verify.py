"""Checking the rows against the stream: it is folded once more, and nothing is written but scratch."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from itertools import islice

from durable_state.consumer.source import read_from_start
from durable_state.consumer.transaction import commit_transaction
from durable_state.errors import OperationRefused
from durable_state.materializer import Fold
from durable_state.materializer.difference import Difference, differences, row_story
from durable_state.models import Generation, Stream
from durable_state.protocol import Message
from durable_state.registry import registry

from .story import Story

__all__ = ["Verification", "verify"]

EXAMPLES = 20
"""Differing keys that are named; all are counted."""


@dataclass
class Verification:
    """What a verification found. ``counts`` is by type: how many rows are missing, extra and changed."""

    stream: str
    ordinal: int = 0
    counts: dict[str, Counter[str]] = field(default_factory=dict)
    examples: list[Difference] = field(default_factory=list)
    story: list[str] = field(default_factory=list)

    @property
    def equal(self) -> bool:
        """Whether the rows are what the stream says."""
        return not any(count for counter in self.counts.values() for count in counter.values())

    def to_json(self) -> dict[str, dict[str, int]]:
        """The result as ``verify --json`` prints it."""
        return {
            entity_type: {kind: counter[kind] for kind in ("missing", "extra", "changed")}
            for entity_type, counter in sorted(self.counts.items())
        }

    def lines(self) -> list[str]:
        """The entity's story, or the differences, for people."""
        return self.story or [f"{each.kind}: {each.type} {each.key}" for each in self.examples]


def verify(stream: Stream, *, entity_type: str | None = None, key: str | None = None) -> Verification:
    """Folds the stream anew, up to the ordinal that the tables stand at, and compares.

    The stream goes on being consumed meanwhile: the last messages are folded, and the rows compared, while its row is locked. With
    ``entity_type`` and ``key`` the result tells that entity's story.
    Raises: OperationRefused, where there is nothing to compare with; TransportError.
    """
    if (entity_type is None) != (key is None):
        raise OperationRefused("One entity is named by --type and --key together.")
    using = stream._state.db or "default"
    stream.refresh_from_db(using=using)
    _require_no_rebuild(stream)
    story = None if entity_type is None or key is None else Story(stream, entity_type, key)
    scratch = Generation.objects.using(using).create(stream=stream, purpose=Generation.Purpose.VERIFY)
    fold = _Scratch(stream, scratch)
    try:
        return _verify(stream, fold, story)
    finally:
        for generation in fold.generations:
            generation.staged.using(using)._raw_delete(using)
            Generation.objects.using(using).filter(pk=generation.pk).delete()


def _require_no_rebuild(stream: Stream) -> None:
    if stream.rebuild_id is not None:
        raise OperationRefused(
            f"The stream {stream.name!r} is being rebuilt; its rows are still those of before.",
            "Verify when it is up to date.",
        )


class _Scratch:
    """A fold beside the shown rows, and the messages that were read ahead of it."""

    def __init__(self, stream: Stream, state: Generation) -> None:
        self._stream = stream
        self.state: Generation = state
        self.snapshot: Generation | None = None
        self.ordinal = 0
        self.ahead: deque[Message] = deque()

    @property
    def generations(self) -> list[Generation]:
        return [self.state] + ([self.snapshot] if self.snapshot else [])

    def advance(self, ordinal: int) -> None:
        """Folds what was read ahead, up to ``ordinal``; call it in a transaction."""
        messages = list(islice(self.ahead, max(ordinal - self.ordinal, 0)))
        for _ in messages:
            self.ahead.popleft()
        fold = Fold(self._stream, self.state, self.snapshot)
        fold.apply(messages, self.ordinal, up_to_date=False)
        fold.forget_dropped()
        assert fold.state is not None
        self.state, self.snapshot = fold.state, fold.snapshot
        self.ordinal += len(messages)


def _verify(stream: Stream, fold: _Scratch, story: Story | None) -> Verification:
    using = stream._state.db or "default"
    for batch in read_from_start(stream):
        if story is not None:
            story.read(batch.messages, fold.ordinal + len(fold.ahead))
        fold.ahead.extend(batch.messages)
        reached = Stream.objects.using(using).values_list("ordinal", flat=True).get(pk=stream.pk)
        if fold.ordinal + len(fold.ahead) >= reached:
            with commit_transaction(using):
                current = Stream.objects.using(using).select_for_update().get(pk=stream.pk)
                _require_no_rebuild(current)
                if fold.ordinal <= current.ordinal <= fold.ordinal + len(fold.ahead):
                    fold.advance(current.ordinal)
                    return _compare(current, fold, story)
        with commit_transaction(using):
            fold.advance(reached)
    raise OperationRefused(
        f"The stream at {stream.name!r} holds {fold.ordinal + len(fold.ahead)} messages, fewer than the {stream.ordinal} that were read.",
        f"It was created anew, or has dropped its beginning: durable_state reset {stream.name}",
    )


def _compare(stream: Stream, fold: _Scratch, story: Story | None) -> Verification:
    types = {mapping.entity_type for mapping in registry.for_stream(stream.name)}
    found = Verification(stream.name, fold.ordinal, {entity_type: Counter() for entity_type in types})
    for difference in differences(stream, fold.state):
        found.counts[difference.type][difference.kind] += 1
        if len(found.examples) < EXAMPLES:
            found.examples.append(difference)
    if story is not None:
        expected, shown = row_story(stream, fold.state, story.type, story.key)
        found.story = [*story.lines, f"row expected: {expected}", f"row found: {shown}"]
    return found
