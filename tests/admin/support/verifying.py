"""What a worker does that was asked to verify."""

from __future__ import annotations

from contextlib import suppress

from durable_state import operations
from durable_state.errors import DurableStateError

__all__ = ["verify_as_a_worker"]


def verify_as_a_worker() -> None:
    """Carry out the verification that waits."""
    run = operations.take_verification("default")
    assert run is not None
    with suppress(DurableStateError):  # it is kept
        operations.carry_out(run)
