"""What a worker does with a requested verification."""

from __future__ import annotations

from contextlib import suppress

from durable_state import operations
from durable_state.errors import DurableStateError

__all__ = ["verify_as_a_worker"]


def verify_as_a_worker() -> None:
    """Carries out the waiting verification."""
    run = operations.take_verification("default")
    assert run is not None
    with suppress(DurableStateError):  # the error is kept in the run
        operations.carry_out(run)
