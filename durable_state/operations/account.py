"""What became of every message that was read, in numbers and in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.utils.translation import ngettext_lazy

from durable_state.models import DISPOSITIONS, Progress, Stream, TypeState
from durable_state.registry import registry

from .wording import number

__all__ = ["LISTED", "Account", "account_of", "listed_types", "stream_account"]

LISTED = 5
"""The most types that are named one by one."""


_COUNTS: dict[str, Any] = {
    "messages": ngettext_lazy("%(number)s message", "%(number)s messages", "count"),
    "applied": ngettext_lazy("%(number)s applied", "%(number)s applied", "count"),
    "no_row": ngettext_lazy(
        "%(number)s without a row (by prepare)", "%(number)s without a row (by prepare)", "count"
    ),
    "parked": ngettext_lazy("%(number)s parked", "%(number)s parked", "count"),
    "dead_letters": ngettext_lazy("%(number)s dead letter", "%(number)s dead letters", "count"),
    "unmapped": ngettext_lazy(
        "%(number)s of types without a mapping", "%(number)s of types without a mapping", "count"
    ),
    "late": ngettext_lazy(
        "%(number)s from before their type was mapped",
        "%(number)s from before their type was mapped",
        "count",
    ),
    "control": ngettext_lazy("%(number)s control", "%(number)s controls", "count"),
    "superseded": ngettext_lazy("%(number)s superseded", "%(number)s superseded", "count"),
    "staged": ngettext_lazy("%(number)s staged", "%(number)s staged", "count"),
    "types": ngettext_lazy("and %(number)s more type", "and %(number)s more types", "count"),
}


@dataclass(frozen=True, slots=True)
class Account:
    """What became of each message that was read: its first disposition, of ``DISPOSITIONS``."""

    messages: int = 0
    """All of them; the other numbers add up to it."""
    applied: int = 0
    """Accepted, including those that a later change replaced."""
    no_row: int = 0
    """Without a row, because the mapping's ``prepare`` returned None."""
    parked: int = 0
    """Parked when they came."""
    dead_letters: int = 0
    """Refused when they came."""
    unregistered: int = 0
    """Of types without a mapping, or whose mapping was registered later."""
    control: int = 0
    """Controls."""
    superseded: int = 0
    """In a snapshot or rebuild that was dropped before it was shown."""
    staged: int = 0
    """In an open snapshot or rebuild."""
    unmapped: Mapping[str, int] = field(default_factory=dict)
    """The unregistered messages of types that have no mapping, by type."""
    late: Mapping[str, int] = field(default_factory=dict)
    """The unregistered messages of types that have a mapping by now, by type."""

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
            _told("applied", self.applied),
            self.no_row and _told("no_row", self.no_row),
            self.parked and _told("parked", self.parked),
            self.dead_letters and _told("dead_letters", self.dead_letters),
            unmapped and _told("unmapped", unmapped) + _named(self.unmapped),
            late and _told("late", late) + _named(self.late),
            self.control and _told("control", self.control),
            self.superseded and _told("superseded", self.superseded),
            self.staged and _told("staged", self.staged),
        ]
        listed = ", ".join(part for part in parts if part)
        return f"{_told('messages', self.messages)}: {listed}"


def account_of(progress: Progress, passed_over: Mapping[str, int], *, staged: int = 0) -> Account:
    """The account of a stream, or of its replay.

    ``passed_over`` counts the messages that met no mapping, by type; ``staged`` those in its open
    generations.
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
    names = [f"{name[:60]} {number(count)}" for name, count in most[:LISTED]]
    more = [_told("types", len(most) - LISTED)] if len(most) > LISTED else []
    return ", ".join([*names, *more])


def _told(name: str, count: int) -> str:
    return str(_COUNTS[name] % {"count": count, "number": number(count)})


def _named(by_type: Mapping[str, int]) -> str:
    return f" ({listed_types(by_type)})" if by_type else ""
