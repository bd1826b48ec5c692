"""What all that changes the shown rows shares, for the time of one commit."""

from __future__ import annotations

from dataclasses import dataclass

from durable_state.models import Stream

from ..changes import Openings, Outcome
from ..parked.lot import ParkingLot
from ..plan import StreamPlan

__all__ = ["Workspace"]


@dataclass(slots=True)
class Workspace:
    """The plans of one stream, what it has parked, and what the commit has changed up to here."""

    plans: StreamPlan
    lot: ParkingLot
    openings: Openings
    outcome: Outcome

    @classmethod
    def on(cls, stream: Stream) -> Workspace:
        """The space for a stream of whose outcome nobody hears."""
        plans = StreamPlan(stream)
        return cls(plans, ParkingLot(stream), Openings(plans), Outcome(0))
