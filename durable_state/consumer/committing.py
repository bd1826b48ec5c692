"""The frame of each commit: what it locks and compares first, and what it writes last.

Why: decisions 7 and 41.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from durable_state import feed
from durable_state.conf import get_settings
from durable_state.databases.clock import database_now
from durable_state.databases.transaction import commit_transaction
from durable_state.errors import LeaseLost, RevisionConflict, TooManyDeadLetters
from durable_state.materializer import Fold, Outcome, PreparedBatch
from durable_state.models import Generation, Lease, Progress, Stream
from durable_state.protocol import Position

from .committed_signal import send_when_committed

__all__ = [
    "Commit",
    "CommitFrame",
    "Work",
    "check_follows",
    "committing",
    "compose_entry",
    "conflict_of",
    "lease_lost",
    "lock",
]

P = TypeVar("P", bound=Progress)


@dataclass(frozen=True, slots=True)
class Commit:
    """What one transaction did."""

    revision: int
    outcome: Outcome
    payload: bytes
    """For the bell; empty if nothing that is shown has changed."""

    paused: bool
    """Whether the stream was paused."""

    swept: bool = True
    """Whether nothing is left of dropped generations."""


class Work(Generic[P]):
    """One transaction's work on a stream, or on a replay.

    ``row`` is the locked row. If it was saved, the caller's object is brought up to date with it
    once the transaction is committed.
    """

    def __init__(self, row: P) -> None:
        self.row = row
        self.is_saved = False

    def generations(self) -> tuple[Generation | None, Generation | None]:
        """The open rebuild and the open snapshot."""
        return self._generation(self.row.rebuild_id), self._generation(self.row.snapshot_id)

    def _generation(self, pk: int | None) -> Generation | None:
        # From the stream's own database: the project's routers may send a relation's reads
        # elsewhere.
        if pk is None:
            return None
        return Generation.objects.using(self.row.using).get(pk=pk)

    def check_letters(self, fold: Fold) -> None:
        """Raises: TooManyDeadLetters."""
        limit = get_settings().dead_letter_limit
        if fold.outcome.letters_written and (count := fold.letter_count()) > limit:
            raise TooManyDeadLetters.after(
                fold.stream.name,
                self.row.ordinal,
                count,
                limit,
                fold.last_reason,
                fold.last_detail,
                fold.last_type,
            )

    def save(self, columns: dict[str, Any]) -> None:
        """Writes the columns and the next revision, if the row has the revision that was read.

        This comparison keeps the invariant on databases without row locks; on others, the lock
        does. Raises: RevisionConflict.
        """
        row, revision = self.row, self.row.revision
        columns = {"revision": revision + 1, **columns}

        rows = type(row)._base_manager.using(row.using)
        if not rows.filter(pk=row.pk, revision=revision).update(**columns):
            raise conflict_of(row)

        for name, value in columns.items():
            setattr(self.row, name, value)
        self.is_saved = True


class CommitFrame:
    """One transaction, and the rows that it works on."""

    def __init__(self, using: str, token: int | None) -> None:
        self.using = using
        self._token = token
        self._opened: list[tuple[Progress, Work[Any]]] = []

    def open(self, progress: P) -> Work[P]:
        """Locks the row for the rest of the transaction, if it still is as ``progress`` was read.

        Raises: RevisionConflict, LeaseLost.
        """
        work = Work(lock(progress, self._token))
        self._opened.append((progress, work))
        return work

    def conclude(
        self, work: Work[Stream], fold: Fold, columns: dict[str, Any], *, up_to_date: bool
    ) -> Commit:
        """Ends a transaction that changes a stream's rows.

        Writes the stream's columns with its next revision, and the feed entry of that number. The
        signals are sent once all of it is committed.
        """
        stream, outcome = work.row, fold.outcome
        revision, now = stream.revision + 1, database_now(self.using)
        entry = compose_entry(stream, revision, outcome, up_to_date=up_to_date, now=now)
        work.save(columns | entry.stream_columns)
        swept = fold.forget_dropped()
        feed.write(stream, entry)

        send_when_committed(stream, revision, outcome)
        return Commit(revision, outcome, entry.payload, stream.paused, swept)

    def bring_up_to_date(self) -> None:
        """Sets what was written on the callers' objects, without asking the database again."""
        for progress, work in self._opened:
            if work.is_saved:
                for field in type(progress)._meta.concrete_fields:
                    setattr(progress, field.attname, getattr(work.row, field.attname))


@contextmanager
def committing(using: str | None, token: int | None) -> Iterator[CommitFrame]:
    """A transaction in which the holder of the lease with this fencing ``token`` commits.

    Operators, who hold no lease, pass None. If the block raises, nothing is committed, and the
    opened objects stay as they were read.
    """
    frame = CommitFrame(using or "default", token)
    with commit_transaction(frame.using):
        yield frame
    frame.bring_up_to_date()


def check_follows(progress: Progress, prepared: PreparedBatch, position: Position) -> None:
    """Raises: RevisionConflict, where the batch does not lead from the row to ``position``."""
    after = progress.ordinal
    if (prepared.after, prepared.after + prepared.count) != (after, position.ordinal):
        raise RevisionConflict(f"{progress}: the batch does not follow ordinal {after}.")


def compose_entry(
    stream: Stream, revision: int, outcome: Outcome, *, up_to_date: bool, now: datetime
) -> feed.ComposedEntry:
    """The feed entry of a commit, before it is inserted; ``now`` is by the database's clock."""
    listed = [
        feed.LoggedChange(*entity, "delete" if deleted else "update")
        for entity, deleted in outcome.changes.items()
    ]
    gone = outcome.gone
    return feed.compose(
        stream,
        revision,
        None if outcome.too_many else listed,
        gone=None if gone is None else [feed.LoggedChange(*entity, "delete") for entity in gone],
        txids=list(outcome.txids),
        up_to_date=up_to_date,
        written=outcome.written,
        now=now,
    )


def lock(progress: P, token: int | None = None) -> P:
    """The row of a stream or a replay, locked for the rest of the transaction.

    Raises: RevisionConflict, if another commit wrote it since ``progress`` was read; LeaseLost, if
    ``token`` is no longer the lease's.
    """
    using = progress.using
    rows = type(progress)._base_manager.using(using)
    current = rows.select_for_update().filter(pk=progress.pk, revision=progress.revision).first()
    if current is None:
        raise conflict_of(progress)
    if token is None:
        return current

    leases = Lease.objects.using(using)
    if not leases.filter(stream_id=progress.stream_pk, token=token).exists():
        raise lease_lost(progress, token)
    return current


def conflict_of(progress: Progress) -> RevisionConflict:
    """The error for a row that another commit has written since it was read."""
    return RevisionConflict(f"{progress}: revision {progress.revision} is no longer the newest.")


def lease_lost(progress: Progress, token: int) -> LeaseLost:
    """The error for a lease that another worker has taken."""
    return LeaseLost(
        f"{progress}: the lease with fencing token {token} was taken by another worker."
    )
