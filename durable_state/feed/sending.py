"""A call that finishes at once needs no task; one that has to wait continues in one.

Most sockets put a frame into their buffer and are done. So sends are started without a task, and
only one that has to wait, because its socket is slow, is finished in a task. Python 3.12 offers the
same as eager tasks.

Why: decision 68.
"""

from __future__ import annotations

from collections.abc import Awaitable, Generator
from types import CoroutineType
from typing import Any

from durable_state.errors import DurableStateError

__all__ = ["ClientGone", "Rest", "begin"]


class ClientGone(DurableStateError):
    """Nothing can be sent because the client has left."""

    @classmethod
    def because(cls, error: Exception) -> ClientGone:
        """Wraps what a server raised while sending."""
        gone = cls("The client has left.")
        gone.__cause__ = error
        return gone


class Rest:
    """The rest of a call that was begun, to be awaited in a task."""

    def __init__(self, steps: Generator[Any, Any, Any], waits_for: Any) -> None:
        self._steps = steps
        self._waits_for = waits_for

    def __await__(self) -> Generator[Any, Any, None]:
        """Continues where the call waits."""
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
    """Runs a call until it is done (returns None) or has to wait (returns the rest).

    It must not depend on the task it runs in. Raises: whatever the call raises.
    """
    steps: Any = call if type(call) is CoroutineType else call.__await__()
    try:
        waits_for = steps.send(None)
    except StopIteration:
        return None
    return Rest(steps, waits_for)
