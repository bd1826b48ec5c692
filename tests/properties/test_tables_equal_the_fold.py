"""Whatever a stream holds and however it is cut, the tables equal the fold."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import OperationalError, connections, transaction
from hypothesis import given
from hypothesis import strategies as st

from durable_state.consumer import commit, reapply
from durable_state.consumer.replay import advance, begin_replay, hand_over
from durable_state.materializer import Fold, prepare_batch
from durable_state.materializer.staged.difference import differences
from durable_state.models import DeadLetter, Generation, StagedChange, Stream
from durable_state.protocol import Position, decode
from durable_state.transport import Batch
from tests.examples import lenient
from tests.tables import apply_batch, check, fresh_stream, rows_of, settled, strict
from tests.wire import END, encode

from .support.streams import batches, items

pytestmark = [
    pytest.mark.django_db(transaction=True, databases="__all__"),
    pytest.mark.usefixtures("writer"),
]


Batches = list[tuple[list[Any], bool]]


@lenient(60)
@given(cut=batches())
def test_any_batching_gives_the_fold(database: str, cut: Batches) -> None:
    """Rows, letters and counters do not depend on how the stream was cut."""
    with fresh_stream(database) as stream:
        for batch, up_to_date in cut:
            apply_batch(stream, batch, up_to_date)
        check(stream, [item for batch, _ in cut for item in batch])


@lenient(15)
@given(one=batches(), other=batches())
def test_streams_in_one_table_do_not_touch_each_other(
    database: str, one: Batches, other: Batches
) -> None:
    """Two streams in the same models, interleaved, are two folds."""
    with fresh_stream(database) as first, fresh_stream(database) as second:
        for number in range(max(len(one), len(other))):
            for stream, cut in ((first, one), (second, other)):
                if number < len(cut):
                    apply_batch(stream, *cut[number])
        check(first, [item for batch, _ in one for item in batch])
        check(second, [item for batch, _ in other for item in batch])


@lenient(15)
@given(stream_items=items, sizes=st.tuples(st.integers(1, 9), st.integers(1, 9)))
def test_a_replay_changes_nothing(
    database: str, stream_items: list[Any], sizes: tuple[int, int]
) -> None:
    """Folding again from the start, in other batches, keeps every row with its primary key, and
    readers see the old rows until then.
    """
    stream_items = [*stream_items, END]  # so that nothing waits for it
    with fresh_stream(database) as stream:
        for size in sizes:
            before = rows_of(stream, pks=True)
            if stream.ordinal:
                with transaction.atomic(using=database):
                    begin_replay(stream)
            for start in range(0, len(stream_items), size):
                apply_batch(stream, stream_items[start : start + size], False)
                if size == sizes[1] and before:
                    assert rows_of(stream, pks=True) == before
            apply_batch(stream, [], True)
            check(stream, stream_items)
        assert rows_of(stream, pks=True) == before or not before
        assert (
            not StagedChange.objects.using(database)
            .filter(generation__stream=stream)
            .exclude(generation=stream.snapshot_id)
            .exists()
        )


@lenient(15)
@given(cut=batches(), sizes=st.lists(st.integers(1, 6), min_size=1), data=st.data())
def test_a_replay_beside_the_live_reader(
    database: str, cut: Batches, sizes: list[int], data: st.DataObject
) -> None:
    """In whatever order they read: the rows are the live reader's until the hand-over, then the
    replay's, and continue from there.
    """
    everything = [*(item for batch, _ in cut for item in batch), END]
    messages = [decode(encode(item)) for item in everything]
    live = [batch for batch, _ in cut]
    with fresh_stream(database) as stream:
        with transaction.atomic(using=database):
            replay = begin_replay(stream)
        read = 0
        while read < len(everything):
            lives: bool = data.draw(st.booleans())
            if live and lives:
                batch = live.pop(0)
                ordinal = stream.ordinal + len(batch)
                parts = prepare_batch(
                    stream, [decode(encode(item)) for item in batch], stream.ordinal
                )
                commit(
                    stream, parts, Batch([], Position(f"o{ordinal}", 0, ordinal), False), token=None
                )
                continue
            before = strict(rows_of(stream, pks=True))
            size = sizes[read % len(sizes)]
            position = Position(f"o{read + size}", 0, min(read + size, len(everything)))
            advance(
                replay,
                stream,
                prepare_batch(stream, messages[read : read + size], read),
                Batch([], position),
                token=None,
            )
            read = position.ordinal
            assert strict(rows_of(stream, pks=True)) == before
        assert hand_over(stream, replay, stream.revision, token=None) is not None
        check(stream, everything)
        apply_batch(stream, everything[:3], True)
        check(stream, [*everything, *everything[:3]])


@lenient(15)
@given(cut=batches())
def test_verification_agrees(database: str, cut: Batches) -> None:
    """A scratch fold of the whole stream finds no difference, and finds one after a row was
    tampered with.
    """
    with fresh_stream(database) as stream:
        for batch, up_to_date in cut:
            apply_batch(stream, batch, up_to_date)
        everything = [
            decode(encode(item))
            for item in settled(stream, [item for batch, _ in cut for item in batch])
        ]
        with transaction.atomic(using=database):
            scratch = Generation.objects.using(database).create(
                stream=stream, purpose=Generation.Purpose.VERIFY
            )
            refold = Fold(stream, scratch, None)
            refold.apply(prepare_batch(stream, everything, 0), up_to_date=False)
            assert refold.rebuild is not None
            assert list(differences(stream, refold.rebuild)) == []
            tampered = stream.profile_set.using(database).update(name="tampered")
            assert len(list(differences(stream, refold.rebuild))) == tampered
            transaction.set_rollback(True, using=database)


@lenient(15)
@given(cut=batches(), data=st.data())
def test_a_crash_at_any_statement_is_resumed(
    database: str, cut: Batches, data: st.DataObject
) -> None:
    """A commit that dies at any of its statements leaves nothing behind, and the next attempt
    succeeds.
    """
    with fresh_stream(database) as stream:
        for batch, up_to_date in cut:
            before = strict(rows_of(stream))
            countdown = data.draw(st.integers(0, 40))

            def die(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
                nonlocal countdown
                countdown -= 1
                if countdown == 0:
                    raise OperationalError("killed")
                return execute(sql, params, many, context)

            attempt = Stream.objects.using(database).get(pk=stream.pk)
            try:
                with connections[database].execute_wrapper(die):
                    apply_batch(attempt, batch, up_to_date)
            except OperationalError:
                assert strict(rows_of(stream)) == before
                stream.refresh_from_db()
                apply_batch(stream, batch, up_to_date)
            else:
                stream = attempt
        check(stream, [item for batch, _ in cut for item in batch])


@lenient(15)
@given(cut=batches())
def test_retrying_letters_changes_nothing(database: str, cut: Batches) -> None:
    """A refused change is refused again: retries bring no old value back and lose no letter."""
    with fresh_stream(database) as stream:
        for batch, up_to_date in cut:
            apply_batch(stream, batch, up_to_date)
        letters = DeadLetter.objects.using(database).filter(stream=stream, generation=0)
        for letter in letters.exclude(entity__startswith=DeadLetter.NO_ENTITY):
            assert not reapply(stream, letter)
        stream.refresh_from_db()
        check(stream, [item for batch, _ in cut for item in batch])
