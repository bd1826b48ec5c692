"""Reports the progress of a switch or a comparison, which may take minutes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from durable_state.models import Generation

__all__ = ["OnStep", "count_off", "watch_steps"]

OnStep = Callable[[int, int], None]
"""Called with the number of staged entities that are done, and the number of all."""

_on_step: ContextVar[OnStep | None] = ContextVar("on_step", default=None)


@contextmanager
def watch_steps(on_step: OnStep | None) -> Iterator[None]:
    """Calls ``on_step`` with the progress that this thread makes in the block."""
    token = _on_step.set(on_step)
    try:
        yield
    finally:
        _on_step.reset(token)


def count_off(generation: Generation) -> Callable[[int], None]:
    """Returns a function to be called with each number of entities done; if nobody watches, they
    are not even counted.
    """
    on_step = _on_step.get()
    if on_step is None:
        return _nobody
    total, done = generation.staged.using(generation.using).count(), 0

    def count(entities: int) -> None:
        nonlocal done
        done += entities
        on_step(min(done, total), total)

    return count


def _nobody(entities: int) -> None:
    """Does nothing: nobody watches."""
