"""What became of every message that was read, in numbers and in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from durable_state.models import DISPOSITIONS, Progress, Stream, TypeState
from durable_state.registry import registry

from .wording import counted

__all__ = ["Account", "account_of", "listed_types", "stream_account"]

_LISTED = 5
"""Types that are named one by one."""


@dataclass(frozen=True, slots=True)
class Account:
    """What became of each message that was read: its first disposition, of ``DISPOSITIONS``."""

    messages: int = 0
    """All of them; the other numbers add up to it."""
    applied: int = 0
    """Accepted; also those that a later change replaced."""
    no_row: int = 0
    """Without a row, because the mapping's ``prepare`` wanted none."""
    parked: int = 0
    """Parked when they came."""
    dead_letters: int = 0
    """Refused when they came."""
    unregistered: int = 0
    """Of types without a mapping, or registered too late."""
    control: int = 0
    """No changes, but controls."""
    superseded: int = 0
    """In a snapshot or rebuild that was dropped before it was shown."""
    staged: int = 0
    """In an open snapshot or rebuild."""
    unmapped: Mapping[str, int] = field(default_factory=dict)
    """The unregistered messages of types that have no mapping, by type."""
    late: Mapping[str, int] = field(default_factory=dict)
    """The unregistered messages of types that have one by now, by type."""

    @property
    def mapped(self) -> int:
        """The messages that met a mapping."""
        return self.applied + self.no_row + self.parked + self.superseded + self.staged

    @property
    def others(self) -> int:
        """The messages that are neither applied, nor parked or refused when they came."""
        return self.messages - self.applied - self.parked - self.dead_letters

    def __str__(self) -> str:
        """One line: ``15 messages: 0 applied, 15 of types without a mapping (task 12, ...)``."""
        late = sum(self.late.values())
        unmapped = max(self.unregistered - late, 0)
        parts = [
            f"{self.applied:,} applied",
            self.no_row and f"{self.no_row:,} without a row (by prepare)",
            self.parked and f"{self.parked:,} parked",
            self.dead_letters and counted(self.dead_letters, "dead letter"),
            unmapped and f"{unmapped:,} of types without a mapping{_named(self.unmapped)}",
            late and f"{late:,} from before their type was mapped{_named(self.late)}",
            self.control and counted(self.control, "control"),
            self.superseded and f"{self.superseded:,} superseded",
            self.staged and f"{self.staged:,} staged",
        ]
        return f"{counted(self.messages, 'message')}: {', '.join(part for part in parts if part)}"


def account_of(progress: Progress, passed_over: Mapping[str, int], *, staged: int = 0) -> Account:
    """The account of a stream, or of its replay.

    ``passed_over`` are the messages that met no mapping, by type; ``staged`` is what its open
    generations hold.
    """
    name = str(progress)
    unmapped: dict[str, int] = {}
    late: dict[str, int] = {}
    for entity_type, count in passed_over.items():
        by_type = unmapped if registry.find(entity_type, name) is None else late
        by_type[entity_type] = count
    return Account(
        messages=progress.ordinal,
        staged=staged,
        unmapped=unmapped,
        late=late,
        **{each: getattr(progress, counter) for each, counter in DISPOSITIONS.items()},
    )


def stream_account(stream: Stream, types: Iterable[TypeState]) -> Account:
    """The account of a stream as it is stored."""
    passed_over = {state.type: state.unregistered for state in types if state.unregistered}
    generations = [each for each in (stream.rebuild, stream.snapshot) if each is not None]
    return account_of(stream, passed_over, staged=sum(each.changes for each in generations))


def listed_types(by_type: Mapping[str, int]) -> str:
    """``task 12, person 3``: the most frequent first, and how many more there are."""
    most = sorted(by_type.items(), key=lambda pair: (-pair[1], pair[0]))
    names = [f"{name[:60]} {count:,}" for name, count in most[:_LISTED]]
    more = [f"and {len(most) - _LISTED:,} more types"] if len(most) > _LISTED else []
    return ", ".join([*names, *more])


def _named(by_type: Mapping[str, int]) -> str:
    return f" ({listed_types(by_type)})" if by_type else ""
