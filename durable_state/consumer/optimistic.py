"""Commits ordinary changes, which is nearly all that a live stream brings, in few statements.

One statement asks for everything that must be known about the stream, and all writes are sent
together. There is no savepoint: anything unusual, such as a refused row, rolls the whole
transaction back, and the careful path takes the batch from its start. Invariant: until COMMIT,
nothing in memory has changed, neither the stream nor the batch, so nothing survives the rollback.

Why: decision 45.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from durable_state.databases import Answer, Statement
from durable_state.databases.clock import database_now
from durable_state.databases.faults import blames_a_row
from durable_state.databases.plain_sql import inserting_row, updating_row
from durable_state.databases.transaction import begun_transaction
from durable_state.materializer import DirectChanges, PreparedBatch, Unusual
from durable_state.models import FeedEntry, Stream
from durable_state.transport import Batch

from .columns import count_columns, status_columns
from .committed_signal import send_when_committed
from .committing import Commit, check_follows, compose_entry, conflict_of, lease_lost
from .stream_facts import StreamFacts, asking_facts, locking_row, read_facts

__all__ = ["commit_ordinary"]


def commit_ordinary(
    stream: Stream, prepared: PreparedBatch, batch: Batch, *, token: int | None
) -> Commit | None:
    """Does what ``commits.commit`` does; None if the careful path has to, and nothing has changed.

    Raises: RevisionConflict, LeaseLost; database errors that are not about a row.
    """
    direct = DirectChanges.find(stream, prepared)
    if direct is None:
        return None
    try:
        with begun_transaction(stream.using) as bounds:
            facts, rows = _look(stream, direct, token, bounds.opening)
            check_follows(stream, prepared, batch.position)
            writing = direct.writing(facts.types, rows)
            done, columns = _write(stream, direct, writing, prepared.count, batch, bounds.closing)
    except Unusual:
        return None
    except Exception as error:  # also whatever a custom field raises
        if not blames_a_row(error):
            raise
        return None
    for name, value in columns.items():
        setattr(stream, name, value)
    stream.clear_at = stream.revision if facts.is_empty_handed else None
    return done


def _look(
    stream: Stream, direct: DirectChanges, token: int | None, opening: Sequence[Statement]
) -> tuple[StreamFacts, Sequence[Answer]]:
    """Locks the stream's row, and reads what the commit must know of it and of its entities' rows.

    Raises: RevisionConflict, LeaseLost; Unusual, if the careful path has to take over.
    """
    # The lock comes first: a statement that waits for it would not see all that its holder wrote.
    before = [*opening, *locking_row(direct.database, stream)]
    statements = [*before, asking_facts(stream, direct), *direct.reading()]
    answers = direct.database.run_together(statements)
    answer, *rows = answers[len(before) :]

    facts = read_facts(direct.database, stream, answer)
    if facts is None:
        raise conflict_of(stream)
    if token is not None and token != facts.token:
        raise lease_lost(stream, token)
    is_open = stream.rebuild_id is not None or stream.snapshot_id is not None
    is_ordinary = facts.is_as_read and facts.is_clear and not is_open
    if not is_ordinary or facts.owned < len(direct.tables):
        raise Unusual
    return facts, rows


def _write(
    stream: Stream,
    direct: DirectChanges,
    statements: list[Statement],
    messages: int,
    batch: Batch,
    closing: Sequence[Statement],
) -> tuple[Commit, dict[str, Any]]:
    """Runs the statements, and writes the position and the feed entry.

    Also returns the columns that the stream has once that is committed.
    """
    outcome, database = direct.outcome, direct.database
    if not direct.tells_all:
        database.run_together(statements)  # the feed reads the rows
        statements = []

    now, revision, up_to_date = database_now(stream.using), stream.revision + 1, batch.up_to_date
    entry = compose_entry(stream, revision, outcome, up_to_date=up_to_date, now=now)
    columns = {
        "revision": revision,
        **entry.stream_columns,
        **count_columns(stream, outcome, batch.position, now, batch.checkpoint),
        **status_columns(
            stream, now, messages=messages, up_to_date=up_to_date, closed=batch.closed
        ),
    }
    changed = {name: value for name, value in columns.items() if getattr(stream, name) != value}
    where = {"id": stream.pk, "revision": stream.revision}
    moving = updating_row(database, Stream, changed, where)
    telling = inserting_row(database, FeedEntry, {"stream": stream.pk, **entry.columns})
    answers = database.run_together([*statements, moving, telling, *closing])
    if not answers[-len(closing) - 2].affected:  # never, where the row's lock is held
        raise conflict_of(stream)

    send_when_committed(stream, revision, outcome)
    return Commit(revision, outcome, entry.payload, stream.paused), changed
