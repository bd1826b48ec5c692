"""The result of `verify`, without reading a stream again."""

from __future__ import annotations

from typing import Any

from durable_state.databases.transaction import commit_transaction
from durable_state.materializer import Fold, prepare_batch
from durable_state.materializer.staged.difference import differences
from durable_state.models import Generation, Stream
from durable_state.protocol import decode

__all__ = ["differing"]


def differing(stream: Stream, messages: list[bytes]) -> list[Any]:
    """The differences between the tables and a scratch fold of the messages."""
    using = stream.using
    state = Generation.objects.using(using).create(stream=stream, purpose=Generation.Purpose.VERIFY)
    with commit_transaction(using):
        fold = Fold(stream, state, None)
        fold.apply(prepare_batch(stream, [decode(m) for m in messages], 0), up_to_date=False)
        assert fold.rebuild is not None
        return list(differences(stream, fold.rebuild))
