"""Checking the rows against the stream: it is folded once more, and nothing is written but scratch.

Why: decision 24.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial

from durable_state.consumer import at_one_moment, read_from_start, sweep_dropped
from durable_state.databases.contention import retry_on_contention
from durable_state.databases.transaction import commit_transaction
from durable_state.errors import OperationRefused
from durable_state.materializer import Fold, OnStep, drop, prepare_batch, watch_steps
from durable_state.materializer.staged.difference import Difference, differences, row_story
from durable_state.models import Generation, Stream
from durable_state.protocol import Message
from durable_state.registry import registry
from durable_state.transport import Batch

from .account import Account, listed_types, stream_account
from .coverage import misfits
from .removal import owned_rows
from .story import Story
from .wording import counted

__all__ = ["Verification", "verify"]

EXAMPLES = 20
"""Differing keys that are named; all are counted."""


@dataclass
class Verification:
    """What a verification found.

    ``counts`` is by type: how many rows are missing, extra and changed; ``rows`` how many there
    were to compare, ``account`` what became of the messages that they were made of.
    """

    stream: str
    ordinal: int = 0
    counts: dict[str, Counter[str]] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)
    account: Account = field(default_factory=Account)
    misfits: list[str] = field(default_factory=list)
    examples: list[Difference] = field(default_factory=list)
    story: list[str] = field(default_factory=list)

    @property
    def equal(self) -> bool:
        """Whether the rows are what the stream says."""
        return not any(count for counter in self.counts.values() for count in counter.values())

    @property
    def compared(self) -> str:
        """``12 rows (task 9, person 3)``."""
        found = {entity_type: count for entity_type, count in self.rows.items() if count}
        types = f" ({listed_types(found)})" if found else ""
        return f"{counted(sum(found.values()), 'row')}{types}"

    def to_json(self) -> dict[str, dict[str, int]]:
        """The result as ``verify --json`` prints it."""
        return {
            entity_type: {kind: counter[kind] for kind in ("missing", "extra", "changed")}
            for entity_type, counter in sorted(self.counts.items())
        }

    def lines(self) -> list[str]:
        """The entity's story, or the differences, for people."""
        return self.story or [f"{each.kind}: {each.type} {each.key}" for each in self.examples]


def verify(
    stream: Stream,
    *,
    entity_type: str | None = None,
    key: str | None = None,
    on_folded: OnStep | None = None,
    on_compared: OnStep | None = None,
) -> Verification:
    """Folds the stream anew, up to the ordinal that the tables stand at, and compares.

    The stream goes on being consumed meanwhile: the tables are compared as one moment shows them.
    With ``entity_type`` and ``key`` the result tells that entity's story. ``on_folded`` is called
    with the messages that are folded, and how many there are, ``on_compared`` with the entities
    that are compared.
    Raises: OperationRefused, where there is nothing to compare with; TransportError.
    """
    if (entity_type is None) != (key is None):
        raise OperationRefused("One entity is named by --type and --key together.")
    using = stream.using
    stream.refresh_from_db(using=using)
    _require_no_rebuild(stream)
    story = None if entity_type is None or key is None else Story(stream, entity_type, key)
    with closing(read_from_start(stream)) as batches:
        fold = _Scratch(stream, batches, story, on_folded)
        try:
            fold.approach()
            with at_one_moment(stream) as current:
                _require_no_rebuild(current)
                if current.ordinal < fold.ordinal:
                    raise OperationRefused(
                        f"The stream {stream.name!r} began anew meanwhile.", "Verify again."
                    )
                fold.advance(current.ordinal)
                with watch_steps(on_compared):
                    return _compare(current, fold.rebuild, story)
        finally:
            fold.drop()


def _require_no_rebuild(stream: Stream) -> None:
    if stream.rebuild_id is not None:
        raise OperationRefused(
            f"The stream {stream.name!r} is being rebuilt; its rows are still those of before.",
            "Verify when it is up to date.",
        )


class _Scratch:
    """A fold beside the shown rows, and the messages that were read ahead of it:
    those of one batch at most.
    """

    def __init__(
        self,
        stream: Stream,
        batches: Iterator[Batch],
        story: Story | None,
        on_folded: OnStep | None = None,
    ) -> None:
        self._stream = stream
        self._using = stream.using
        self._batches = batches
        self._story = story
        self._on_folded = on_folded
        self.rebuild: Generation = retry_on_contention(
            lambda: Generation.objects.using(self._using).create(
                stream=stream, purpose=Generation.Purpose.VERIFY
            )
        )
        self._snapshot: Generation | None = None
        self.ordinal = 0
        self._ahead: list[Message] = []

    def approach(self) -> None:
        """Folds up to where the tables stand,
        as long as that brings it nearer to them by half, so that little is left to do.
        """
        behind = None
        while True:
            ordinal = (
                Stream.objects.using(self._using)
                .values_list("ordinal", flat=True)
                .get(pk=self._stream.pk)
            )
            if behind is not None and ordinal - self.ordinal > behind / 2:
                return
            behind = ordinal - self.ordinal
            if behind <= 0:
                return
            self.advance(ordinal)

    def advance(self, ordinal: int) -> None:
        """Folds up to the ordinal, in a transaction for each batch.

        Raises: OperationRefused, where the stream does not hold so many.
        """
        while self.ordinal < ordinal:
            if not self._ahead:
                self._ahead = self._read()
            count = ordinal - self.ordinal
            messages, self._ahead = self._ahead[:count], self._ahead[count:]
            if self._story is not None:
                self._story.read(messages, self.ordinal)
            self.rebuild, self._snapshot = retry_on_contention(partial(self._fold, messages))
            self.ordinal += len(messages)
            if self._on_folded is not None:
                self._on_folded(self.ordinal, ordinal)

    def _fold(self, messages: list[Message]) -> tuple[Generation, Generation | None]:
        # Prepared and read anew by each attempt: a fold leaves its marks on both.
        batch = prepare_batch(self._stream, messages, self.ordinal)
        with commit_transaction(self._using):
            rebuild, snapshot = self._reread(self.rebuild), self._reread(self._snapshot)
            fold = Fold(self._stream, rebuild, snapshot)
            fold.apply(batch, up_to_date=False)
            fold.forget_dropped()
        assert fold.rebuild is not None
        return fold.rebuild, fold.snapshot

    def _reread(self, generation: Generation | None) -> Generation | None:
        if generation is None:
            return None
        return Generation.objects.using(self._using).get(pk=generation.pk)

    def drop(self) -> None:
        """Deletes what was made, in bounded transactions."""
        for generation in filter(None, (self.rebuild, self._snapshot)):
            retry_on_contention(partial(self._drop, generation))
        while retry_on_contention(partial(sweep_dropped, self._using)):
            pass

    def _drop(self, generation: Generation) -> None:
        with commit_transaction(self._using):
            drop(generation)

    def _read(self) -> list[Message]:
        for batch in self._batches:
            if batch.messages:
                return batch.messages
        raise OperationRefused(
            f"The stream at {self._stream.name!r} holds {self.ordinal} messages,"
            f" fewer than the {self._stream.ordinal} that were read.",
            "It was created anew, or has dropped its beginning:"
            f" durable_state reset {self._stream.name}",
        )


def _compare(stream: Stream, rebuild: Generation, story: Story | None) -> Verification:
    mapped = {mapping.entity_type for mapping in registry.for_stream(stream.name)}
    types = list(stream.types.using(stream.using).all())
    found = Verification(
        stream.name,
        stream.ordinal,
        {entity_type: Counter() for entity_type in mapped},
        {mapping.entity_type: rows.count() for mapping, rows in owned_rows(stream)},
        stream_account(stream, types),
        misfits(stream.name, types),
    )
    for difference in differences(stream, rebuild):
        found.counts[difference.type][difference.kind] += 1
        if len(found.examples) < EXAMPLES:
            found.examples.append(difference)
    if story is None:
        _require_something(found)
    else:
        expected, shown = row_story(stream, rebuild, story.type, story.key)
        found.story = [*story.lines, f"row expected: {expected}", f"row found: {shown}"]
    return found


def _require_something(found: Verification) -> None:
    """Raises: OperationRefused, where nothing of the stream is mapped: none equals none."""
    nothing = found.equal and not any(found.rows.values()) and not found.account.mapped
    no_mapping = found.account.messages and not registry.for_stream(found.stream)
    if no_mapping or (nothing and found.account.unregistered):
        raise OperationRefused(
            f"Nothing of the stream {found.stream!r} is mapped, so there are no rows to compare:"
            f" {'; '.join([str(found.account), *found.misfits])}.",
            "Register a mapping for a type that comes.",
        )
