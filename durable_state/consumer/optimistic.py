"""Commits ordinary changes, which is nearly all that a live stream brings, in few statements.

One statement asks for everything that must be known about the stream, and all writes are sent
together; where the last commit has left nothing to ask, a statement that insists on it is sent with
them. There is no savepoint: anything unusual, such as a refused row, rolls the whole transaction
back, and the careful path takes the batch from its start. Invariant: until COMMIT, nothing in
memory has changed, neither the stream nor the batch, so nothing survives the rollback.

Why: decisions 45 and 77.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from durable_state.databases import Answer, Statement
from durable_state.databases.clock import database_now
from durable_state.databases.faults import blames_a_row
from durable_state.databases.plain_sql import inserting_row, updating_row
from durable_state.databases.transaction import begun_transaction
from durable_state.materializer import DirectChanges, PreparedBatch, TypeFacts, Unusual
from durable_state.models import FeedEntry, Stream
from durable_state.transport import Batch

from .columns import count_columns, status_columns
from .committed_signal import send_when_committed
from .committing import Commit, check_follows, compose_entry, conflict_of, lease_lost
from .expectation import Left, find_left, insisting, may_insist
from .stream_facts import asking_facts, columns_read, locking_row, read_facts

__all__ = ["commit_ordinary"]


def commit_ordinary(
    stream: Stream, prepared: PreparedBatch, batch: Batch, *, token: int | None
) -> Commit | None:
    """Does what ``commits.commit`` does; None if the careful path has to, and nothing has changed.

    Raises: RevisionConflict, LeaseLost; database errors that are not about a row.
    """
    left, direct = find_left(stream), DirectChanges.find(stream, prepared)
    if direct is not None and may_insist(left, direct):
        done = _OrdinaryCommit(stream, direct, prepared, batch, left).run(token, insists=True)
        if done is not None:
            return done
        direct = DirectChanges.find(stream, prepared)  # the other is used up
    if direct is None:
        return None
    return _OrdinaryCommit(stream, direct, prepared, batch, left).run(token, insists=False)


class _OrdinaryCommit:
    """One attempt; ``left`` is what the last commit has left, as far as it is known."""

    def __init__(
        self,
        stream: Stream,
        direct: DirectChanges,
        prepared: PreparedBatch,
        batch: Batch,
        left: Left | None,
    ) -> None:
        self._stream = stream
        self._direct = direct
        self._prepared = prepared
        self._batch = batch
        self._left = left
        self._is_clear = left is not None and left.is_clear
        self._types: TypeFacts = {} if left is None else left.types

    def run(self, token: int | None, *, insists: bool) -> Commit | None:
        """Looks first, or insists that all is as it was left; None if it is not ordinary, or not
        as it was left.
        """
        stream, direct = self._stream, self._direct
        try:
            with begun_transaction(stream.using) as bounds:
                opening = [*bounds.opening, *locking_row(direct.database, stream)]
                if insists:
                    assert self._left is not None
                    reading = direct.reading()
                    first = [*opening, insisting(stream, self._left, direct, reading, token)]
                    rows: Sequence[Answer] = [Answer([], 0)] * len(reading)
                else:
                    first = []
                    rows = self._look(token, opening)
                check_follows(stream, self._prepared, self._batch.position)
                writing = direct.writing(self._types, rows)
                done, columns, version = self._write([*first, *writing], bounds.closing)
        except Unusual:
            return None
        except Exception as error:  # also whatever a custom field raises
            if not blames_a_row(error):
                raise
            return None
        for name, value in columns.items():
            setattr(stream, name, value)
        stream.left = self._leave(version)
        return done

    def _look(self, token: int | None, opening: Sequence[Statement]) -> Sequence[Answer]:
        """Reads what the commit must know of the stream and of its entities' rows.

        Raises: RevisionConflict, LeaseLost; Unusual, if the careful path has to take over.
        """
        # The lock is in the opening: a statement that waits for it would not see all that its
        # holder wrote.
        stream, direct = self._stream, self._direct
        asking = asking_facts(stream, direct, is_clear=self._is_clear)
        answers = direct.database.run_together([*opening, asking, *direct.reading()])
        answer, *rows = answers[len(opening) :]

        facts = read_facts(direct.database, stream, answer)
        if facts is None:
            raise conflict_of(stream)
        if token is not None and token != facts.token:
            raise lease_lost(stream, token)
        is_open = stream.rebuild_id is not None or stream.snapshot_id is not None
        is_ordinary = facts.is_as_read and facts.is_clear and not is_open
        if not is_ordinary or facts.owned < len(direct.tables):
            raise Unusual
        self._is_clear = self._is_clear or facts.has_nothing
        self._types = {**self._types, **facts.types}
        return rows

    def _write(
        self, statements: list[Statement], closing: Sequence[Statement]
    ) -> tuple[Commit, dict[str, Any], str | None]:
        """Runs the statements, and writes the position and the feed entry.

        Also returns the columns that the stream has once that is committed, and its row's version.
        """
        stream, batch, database = self._stream, self._batch, self._direct.database
        outcome = self._direct.outcome
        if not self._direct.tells_all:
            database.run_together(statements)  # the feed reads the rows
            statements = []

        now, revision = database_now(stream.using), stream.revision + 1
        up_to_date = batch.up_to_date
        entry = compose_entry(stream, revision, outcome, up_to_date=up_to_date, now=now)
        columns = {
            "revision": revision,
            **entry.stream_columns,
            **count_columns(stream, outcome, batch.position, now, batch.checkpoint),
            **status_columns(
                stream,
                now,
                messages=self._prepared.count,
                up_to_date=up_to_date,
                closed=batch.closed,
            ),
        }
        changed = {name: value for name, value in columns.items() if getattr(stream, name) != value}
        where = {"id": stream.pk, "revision": stream.revision}
        moving = updating_row(database, Stream, changed, where, returning=database.row_version)
        telling = inserting_row(database, FeedEntry, {"stream": stream.pk, **entry.columns})
        answers = database.run_together([*statements, moving, telling, *closing])
        moved = answers[-len(closing) - 2]
        if not moved.affected:  # never, where the row's lock is held
            raise conflict_of(stream)

        send_when_committed(stream, revision, outcome)
        version = moved.rows[0][0] if moved.rows else None
        return Commit(revision, outcome, entry.payload, stream.paused), changed, version

    def _leave(self, version: str | None) -> Left:
        """What is left for the next commit."""
        met_rows = self._direct.met_rows
        if met_rows is None:
            met_rows = self._left is not None and self._left.met_rows
        types = {**self._types, **self._direct.learned}
        return Left(columns_read(self._stream), version, self._is_clear, types, met_rows)
