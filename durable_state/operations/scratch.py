"""Folds a stream again, up to where its rows stand, into scratch space."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from durable_state.consumer import sweep_dropped
from durable_state.databases.clock import database_now
from durable_state.databases.contention import retry_on_contention
from durable_state.databases.transaction import commit_transaction
from durable_state.errors import OperationRefused
from durable_state.materializer import Fold, OnStep, drop_generation, prepare_batch
from durable_state.models import Generation, Stream
from durable_state.protocol import Message
from durable_state.transport import Batch

from .story import Story

__all__ = ["ScratchFold"]


class ScratchFold:
    """A fold beside the shown rows, with the rest of the batch that was read ahead of it."""

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
        self._ahead: list[Message] = []
        self._snapshot: Generation | None = None
        self.rebuild: Generation = retry_on_contention(self._open)
        self.ordinal = 0

    def _open(self) -> Generation:
        generations = Generation.objects.using(self._using)
        return generations.create(
            stream=self._stream,
            purpose=Generation.Purpose.VERIFY,
            created_at=database_now(self._using),
        )

    def approach(self) -> None:
        """Folds up to where the tables stand, again and again while each round halves the distance,
        so that little is left to do.
        """
        behind = None
        while True:
            ordinals = Stream.objects.using(self._using).values_list("ordinal", flat=True)
            ordinal = ordinals.get(pk=self._stream.pk)
            if behind is not None and ordinal - self.ordinal > behind / 2:
                return
            behind = ordinal - self.ordinal
            if behind <= 0:
                return
            self.advance(ordinal)

    def advance(self, ordinal: int) -> None:
        """Folds up to the ordinal, in a transaction for each batch.

        Raises: OperationRefused, if the stream does not hold so many messages.
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
        # Each attempt prepares the batch and reads the generations again: a fold changes both.
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
        """Deletes the scratch space, in bounded transactions."""
        for generation in filter(None, (self.rebuild, self._snapshot)):
            retry_on_contention(partial(self._drop, generation))
        while retry_on_contention(partial(sweep_dropped, self._using)):
            pass

    def _drop(self, generation: Generation) -> None:
        with commit_transaction(self._using):
            drop_generation(generation)

    def _read(self) -> list[Message]:
        for batch in self._batches:
            if batch.messages:
                return batch.messages
        raise OperationRefused(
            f"The stream at {self._stream.name!r} holds {self.ordinal} messages,"
            f" fewer than the {self._stream.ordinal} that were read.",
            "It was created again, or its beginning was dropped:"
            f" manage.py durable_state reset {self._stream.name}",
        )
