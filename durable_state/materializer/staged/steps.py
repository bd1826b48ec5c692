"""Telling whoever looks on how far a switch, or a comparison, is; both may take minutes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from durable_state.models import Generation

__all__ = ["OnStep", "count_off", "watch_steps"]

OnStep = Callable[[int, int], None]
"""Called with how many staged entities are done, and how many there are."""

_on_step: ContextVar[OnStep | None] = ContextVar("on_step", default=None)


@contextmanager
def watch_steps(on_step: OnStep | None) -> Iterator[None]:
    """Has ``on_step`` called for what this thread does in the block."""
    token = _on_step.set(on_step)
    try:
        yield
    finally:
        _on_step.reset(token)


def count_off(generation: Generation) -> Callable[[int], None]:
    """Gives what is to be called with the number of entities that are done;
    they are counted only where somebody looks on.
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
    """Nobody looks on."""
