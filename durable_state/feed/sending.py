"""Sends that end at once need no task; one that waits becomes a task where it stands.

Most sockets take a frame into their buffer and are done. So a send is begun by whoever has
the frame, for one socket after the other, and only where it waits (the socket is slow) a task sees
it through. Python 3.12 has the same as eager tasks.

Why: decision 68.
"""

from __future__ import annotations

from collections.abc import Awaitable, Generator
from types import CoroutineType
from typing import Any

from durable_state.errors import DurableStateError

__all__ = ["ClientGone", "Rest", "begin"]


class ClientGone(DurableStateError):
    """Nothing can be sent, because the client has left."""

    @classmethod
    def because(cls, error: Exception) -> ClientGone:
        """The same, of what a server raised when it was to send."""
        gone = cls("The client has left.")
        gone.__cause__ = error
        return gone


class Rest:
    """What is left of a call that was begun, to be awaited in a task."""

    def __init__(self, steps: Generator[Any, Any, Any], waits_for: Any) -> None:
        self._steps = steps
        self._waits_for = waits_for

    def __await__(self) -> Generator[Any, Any, None]:
        """Goes on where the call stands."""
        waits_for = self._waits_for
        while True:
            try:
                try:
                    answer = yield waits_for
                except BaseException as error:
                    waits_for = self._steps.throw(error)
                else:
                    waits_for = self._steps.send(answer)
            except StopIteration:
                return


def begin(call: Awaitable[Any]) -> Rest | None:
    """Runs a call until it is done (None), or waits for something.

    It must not ask in which task it runs. Raises: whatever the call raises.
    """
    steps: Any = call if type(call) is CoroutineType else call.__await__()
    try:
        waits_for = steps.send(None)
    except StopIteration:
        return None
    return Rest(steps, waits_for)
