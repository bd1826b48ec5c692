"""What ``run`` prints while it consumes: streams, their states, refused messages,
and with ``-v 2`` every commit.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter

from django.core.management.base import BaseCommand
from django.utils.translation import override

from durable_state.consumer import Commit
from durable_state.materializer import Outcome
from durable_state.models import Progress, Replay, Status, Stream
from durable_state.operations.account import account_of
from durable_state.operations.wording import counted

from .table import one_line

__all__ = ["NAMED_STREAMS", "Reporter"]

NAMED_TYPES = 5
"""How many types without a mapping one line names."""
NAMED_STREAMS = 20
"""How many streams are named when they come and go; if there are more, they are counted."""
COUNT_SECONDS = 2.0
"""Seconds for which they are counted before the number is printed."""


class Reporter:
    """Prints a line for everything that a person would want to know, at once, even into a pipe."""

    def __init__(self, command: BaseCommand, verbosity: int) -> None:
        self._command = command
        self._verbosity = verbosity
        self._states: dict[str, str] = {}
        self._ordinals: dict[str, int] = {}
        self._passed_over: dict[str, Counter[str]] = {}
        self._held = 0
        self._unsaid: Counter[str] = (
            Counter()
        )  # what happened to how many streams since the last line

    def began(self, stream: Stream) -> None:
        """Prints that this process consumes the stream from now on."""
        self._ordinals[stream.name] = stream.ordinal
        self._states.pop(stream.name, None)
        self._held += 1
        if self._are_many:
            self._count("taken")
        else:
            self._write(f"{stream.name}: taken, after {counted(stream.ordinal, 'message')}")

    def ended(self, stream: Stream) -> None:
        """Prints why the stream is not consumed any more, unless the whole run has ended."""
        self._held -= 1
        if stream.paused:
            self._write(f"{stream.name}: paused, after {counted(stream.ordinal, 'message')}")
        elif stream.status in (Status.HALTED, Status.NEEDS_RESET):
            said = f"{stream.name}: {Status(stream.status).label}: {stream.last_error}"
            self._write(self._command.style.ERROR(one_line(said)))
            if stream.action:
                self._write(f"    → {one_line(stream.action)}")

    def let_go(self, stream: Stream) -> None:
        """Prints that the stream goes to another worker, which has fewer."""
        if self._are_many:
            self._count("handed to another worker")
        else:
            self._write(f"{stream.name}: handed to another worker, to share the load evenly")
        self._held -= 1

    def committed(self, stream: Stream, done: Commit, seconds: float) -> None:
        """Prints a commit, with ``-v 2``, and always what it refused or could not map."""
        name, outcome = stream.name, done.outcome
        read = stream.ordinal - self._ordinals.get(name, stream.ordinal)
        self._ordinals[name] = stream.ordinal
        if self._verbosity >= 2:
            took = f"{seconds * 1000:,.0f} ms"
            rows = _describe_rows(outcome)
            self._write(f"{name}: {read:+,} at message {stream.ordinal:,} · {rows} · {took}")

        # Types without a mapping, the first time they occur.
        passed_over = self._passed_over.setdefault(name, Counter())
        if news := outcome.passed_over.keys() - passed_over.keys():
            listed = ", ".join(f'"{each}"' for each in sorted(news)[:NAMED_TYPES])
            more = ", ..." if len(news) > NAMED_TYPES else ""
            self.warn(
                f"{name}: no mapping for the type {listed}{more}; such messages are skipped:"
                f" manage.py durable_state status {name}"
            )
        passed_over += outcome.passed_over

        if outcome.dead_letters:
            self.warn(
                f"{name}: {counted(outcome.dead_letters, 'message')} refused,"
                f" up to message {stream.ordinal:,}: manage.py durable_state dead-letters {name}"
            )

    def progressed(self, progress: Progress) -> None:
        """Prints the state of a stream or a replay when it has changed."""
        name, status = str(progress), str(progress.status)
        before = self._states.get(name)
        if before == status:
            return
        self._states[name] = status
        is_usual = before in (None, *_ON_THE_WAY) and status in _ON_THE_WAY
        if self._are_many and is_usual and not isinstance(progress, Replay):
            self._count(Status(status).label)
        elif isinstance(progress, Replay):
            self._write(f"{name}: started; the old rows stay until it has caught up")
        else:
            label = Status(status).label
            self._write(f"{name}: {label}, {counted(progress.ordinal, 'message')} read")
            account = account_of(progress, self._passed_over.get(name, {}))
            if account.others and status in (Status.LIVE, Status.CLOSED):
                with override(None):  # in English, as the rest of the command
                    self._write(one_line(f"{name}: {account}"))

    def notice(self, text: str, level: int) -> None:
        """Prints a log message, if the project has not configured where logs go."""
        style = self._command.style.ERROR if level >= logging.ERROR else self._command.style.WARNING
        self._write(style(one_line(text)))

    def warn(self, text: str) -> None:
        """Prints a line in the color of warnings."""
        self._write(self._command.style.WARNING(one_line(text)))

    @property
    def _are_many(self) -> bool:
        return self._held > NAMED_STREAMS and self._verbosity < 2

    def _count(self, what: str) -> None:
        """Has a later line say how many streams this happened to."""
        if not self._unsaid:
            asyncio.get_running_loop().call_later(COUNT_SECONDS, self._say_counts)
        self._unsaid[what] += 1

    def _say_counts(self) -> None:
        told = [f"{counted(many, 'more stream')} {what}" for what, many in self._unsaid.items()]
        self._unsaid.clear()
        self._write(", ".join(told))

    def _write(self, text: str) -> None:
        self._command.stdout.write(text)
        self._command.stdout.flush()


_ON_THE_WAY = (Status.CATCHING_UP, Status.LIVE)


def _describe_rows(outcome: Outcome) -> str:
    """Describes how many rows of which types a commit has changed."""
    if outcome.too_many:
        return "very many rows"
    by_type = Counter(entity_type for entity_type, _ in outcome.changes)
    told = [f"{one_line(each, 40)} {count:,}" for each, count in sorted(by_type.items())]
    return f"rows: {', '.join(told) or 'none'}"
