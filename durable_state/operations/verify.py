"""Compares the rows with the stream, by folding it once more into scratch space.

Why: decision 24.
"""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from durable_state.consumer import at_one_moment, read_from_start
from durable_state.errors import OperationRefused
from durable_state.materializer import OnStep, watch_steps
from durable_state.materializer.staged.difference import Difference, differences, row_story
from durable_state.models import Generation, Stream
from durable_state.registry import registry

from .account import Account, listed_types, stream_account
from .misfits import misfits
from .removal import owned_rows
from .scratch import ScratchFold
from .story import Story
from .wording import counted

__all__ = ["Verification", "verify"]

EXAMPLES = 20
"""How many differing keys are named; all are counted."""


@dataclass
class Verification:
    """What a verification found."""

    stream: str
    """The stream's name."""
    ordinal: int = 0
    """The ordinal of the last message that was folded."""
    counts: dict[str, Counter[str]] = field(default_factory=dict)
    """How many rows are missing, extra and changed, by type."""
    rows: dict[str, int] = field(default_factory=dict)
    """How many rows there were to compare, by type."""
    account: Account = field(default_factory=Account)
    """What became of the messages."""
    misfits: list[str] = field(default_factory=list)
    """Where the mappings do not fit the stream's messages, one sentence each."""
    examples: list[Difference] = field(default_factory=list)
    """The first differences."""
    story: list[str] = field(default_factory=list)
    """The history of the one entity that was asked for."""

    @property
    def equal(self) -> bool:
        """Whether the rows equal the stream."""
        return not any(counter.total() for counter in self.counts.values())

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

    def kept(self) -> dict[str, Any]:
        """The result as it is stored.

        Its ``examples`` name keys of rows, and its ``story`` quotes a row.
        """
        types = {
            entity_type: {"rows": self.rows.get(entity_type, 0), **counts}
            for entity_type, counts in self.to_json().items()
        }
        return {
            "ordinal": self.ordinal,
            "types": types,
            "compared": self.compared,
            "account": str(self.account),
            "misfits": self.misfits,
            "story": self.story,
            "examples": [[each.kind, each.type, each.key] for each in self.examples],
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
    """Folds the stream again, up to where its tables stand, and compares the two.

    The stream is consumed meanwhile; the tables are compared as they are at one moment. With
    ``entity_type`` and ``key`` the result has that entity's history. ``on_folded`` is called with
    the number of messages that are folded, and of all; ``on_compared`` with the same of entities.
    Raises: OperationRefused, if there is nothing to compare; TransportError.
    """
    if (entity_type is None) != (key is None):
        raise OperationRefused("One entity is named by --type and --key together.")
    using = stream.using
    stream.refresh_from_db(using=using)
    _require_no_rebuild(stream)

    story = None if entity_type is None or key is None else Story(stream, entity_type, key)
    with closing(read_from_start(stream)) as batches:
        fold = ScratchFold(stream, batches, story, on_folded)
        try:
            fold.approach()
            with at_one_moment(stream) as current:
                _require_no_rebuild(current)
                if current.ordinal < fold.ordinal:
                    raise OperationRefused(
                        f"The stream {stream.name!r} started over meanwhile.", "Verify again."
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


def _compare(stream: Stream, rebuild: Generation, story: Story | None) -> Verification:
    mapped = {mapping.entity_type for mapping in registry.for_stream(stream.name)}
    types = list(stream.types.using(stream.using).all())
    found = Verification(
        stream.name,
        stream.ordinal,
        counts={entity_type: Counter() for entity_type in mapped},
        rows={mapping.entity_type: rows.count() for mapping, rows in owned_rows(stream)},
        account=stream_account(stream, types),
        misfits=misfits(stream.name, types),
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
    """Raises: OperationRefused, if nothing of the stream is mapped: there is nothing to compare."""
    nothing = found.equal and not any(found.rows.values()) and not found.account.mapped
    no_mapping = found.account.messages and not registry.for_stream(found.stream)
    if no_mapping or (nothing and found.account.unregistered):
        raise OperationRefused(
            f"Nothing of the stream {found.stream!r} is mapped, so there are no rows to compare:"
            f" {'; '.join([str(found.account), *found.misfits])}.",
            "Register a mapping for one of these types.",
        )
