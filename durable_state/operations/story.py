"""Tells what happened to one entity, change by change."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from durable_state.conversion import Refused
from durable_state.materializer.batch.preparation import prepare
from durable_state.materializer.plan import StreamPlan
from durable_state.models import Stream
from durable_state.protocol import Change, Control, Message, Operation

__all__ = ["Story"]


NEWEST = 1000
"""The most lines of a story."""


class Story:
    """The newest ``NEWEST`` changes of one entity, with what became of each, and the controls
    between them.
    """

    def __init__(self, stream: Stream, entity_type: str, key: str) -> None:
        self.type = entity_type
        self.key = key
        self.lines: deque[str] = deque(maxlen=NEWEST)
        self._plan = StreamPlan(stream).find(entity_type)

    def read(self, messages: Sequence[Message], after: int) -> None:
        """Adds the messages that follow ordinal ``after``."""
        for ordinal, message in enumerate(messages, after + 1):
            if isinstance(message, Control):
                self.lines.append(f"{ordinal}: {message.kind}")
            elif (
                isinstance(message, Change)
                and message.key == self.key
                and message.type == self.type
            ):
                self.lines.append(
                    f"{ordinal}: {message.operation} {self._became(message, ordinal)}"
                )

    def _became(self, change: Change, ordinal: int) -> str:
        if self._plan is None:
            return "skipped: the type is not registered"
        if change.operation == Operation.DELETE:
            return "accepted: no row"
        try:
            prepared = prepare(self._plan, change, ordinal)
        except Refused as refused:
            return f"refused: {refused.code}: {refused.detail}"
        return (
            "accepted: no row"
            if prepared is None
            else f"accepted: {(change.value or b'').decode()}"
        )
