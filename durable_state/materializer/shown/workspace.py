"""What the modules that change the shown rows share during one commit."""

from __future__ import annotations

from dataclasses import dataclass

from durable_state.models import Stream

from ..changes import Openings, Outcome
from ..parked.lot import ParkingLot
from ..plan import StreamPlan

__all__ = ["Workspace"]


@dataclass(slots=True)
class Workspace:
    """The plans of one stream, what it has parked, and what the commit has changed so far."""

    plans: StreamPlan
    lot: ParkingLot
    openings: Openings
    outcome: Outcome

    @classmethod
    def on(cls, stream: Stream) -> Workspace:
        """A workspace whose outcome is not used."""
        plans = StreamPlan(stream)
        return cls(plans, ParkingLot(stream), Openings(plans), Outcome(0))
