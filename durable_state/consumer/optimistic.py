"""The commit of ordinary changes, which is nearly all that a live stream brings, in few statements.

One of them asks for all that must be known of the stream, and what writes is sent together. There
is no savepoint: whatever is not as usual, a refused row among it, rolls the whole transaction back,
and the careful path takes the batch from its start. Invariant: until COMMIT nothing in memory has
changed, neither the stream nor the batch, so nothing survives the rollback.

Why: decision 45.
"""

from __future__ import annotations

from collections.abc import Sequence

from durable_state.databases import Answer, Statement
from durable_state.databases.faults import blames_a_row
from durable_state.databases.plain_sql import inserting_row, updating_row
from durable_state.databases.transaction import begun_transaction
from durable_state.materializer import DirectChanges, PreparedBatch, Unusual
from durable_state.models import FeedEntry, Stream
from durable_state.transport import Batch

from .columns import count_columns, status_columns
from .committed_signal import send_when_committed
from .committing import Commit, CommitFrame, Work, compose_entry, conflict_of, lease_lost
from .stream_facts import StreamFacts, asking_facts, locking_row, read_facts

__all__ = ["commit_ordinary"]


def commit_ordinary(
    stream: Stream, prepared: PreparedBatch, batch: Batch, *, token: int | None
) -> Commit | None:
    """Does what ``commits.commit`` does; None where that has to, and nothing has changed then.

    Raises: RevisionConflict, LeaseLost; database errors that no row is to blame for.
    """
    direct = DirectChanges.find(stream, prepared)
    if direct is None:
        return None
    frame = CommitFrame(stream.using, token)
    try:
        with begun_transaction(stream.using) as bounds:
            facts, rows = _look(stream, direct, bounds.opening)
            if token is not None and token != facts.token:
                raise lease_lost(stream, token)
            work = frame.take_up(stream, facts.row)
            work.check_follows(prepared, batch.position)
            done = _write(work, facts, direct, rows, prepared.count, batch, bounds.closing)
    except Unusual:
        return None
    except Exception as error:  # whatever a field's own code raises, too
        if not blames_a_row(error):
            raise
        return None
    frame.bring_up_to_date()
    return done


def _look(
    stream: Stream, direct: DirectChanges, opening: Sequence[Statement]
) -> tuple[StreamFacts, Sequence[Answer]]:
    """Locks the stream's row, and reads what is to be known of it and of its entities' rows.

    Raises: RevisionConflict; Unusual, where the careful path has to look.
    """
    # The lock first: a statement that waits for it does not see all that its holder wrote.
    before = [*opening, *locking_row(direct.database, stream)]
    statements = [*before, asking_facts(stream, direct), *direct.reading()]
    answers = direct.database.run_together(statements)
    answer, *rows = answers[len(before) :]

    facts = read_facts(direct.database, stream, answer)
    if facts is None:
        raise conflict_of(stream)
    is_open = facts.row.rebuild_id is not None or facts.row.snapshot_id is not None
    if is_open or not facts.is_clear or facts.owned < len(direct.tables):
        raise Unusual
    return facts, rows


def _write(
    work: Work[Stream],
    facts: StreamFacts,
    direct: DirectChanges,
    rows: Sequence[Answer],
    messages: int,
    batch: Batch,
    closing: Sequence[Statement],
) -> Commit:
    """Writes rows, position and feed entry. Raises: Unusual."""
    stream, outcome, database = work.row, direct.outcome, direct.database
    statements = direct.writing(facts.types, rows)
    if not direct.tells_all:
        database.run_together(statements)  # the feed reads the rows
        statements = []

    revision, up_to_date = stream.revision, batch.up_to_date
    entry = compose_entry(stream, revision + 1, outcome, up_to_date=up_to_date)
    columns = {
        "revision": revision + 1,
        **entry.stream_columns,
        **count_columns(stream, outcome, batch.position, batch.checkpoint),
        **status_columns(stream, messages=messages, up_to_date=up_to_date, closed=batch.closed),
    }
    changed = {name: value for name, value in columns.items() if getattr(stream, name) != value}
    where = {"id": stream.pk, "revision": revision}
    moving = updating_row(database, Stream, changed, where)
    telling = inserting_row(database, FeedEntry, {"stream": stream.pk, **entry.columns})
    answers = database.run_together([*statements, moving, telling, *closing])
    if not answers[-len(closing) - 2].affected:  # never, where the row's lock is held
        raise conflict_of(stream)

    work.note_saved(columns)
    send_when_committed(stream, outcome)
    return Commit(stream.revision, outcome, entry.payload, stream.paused)
