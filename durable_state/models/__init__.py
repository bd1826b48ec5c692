"""What this app stores. Models know nothing of HTTP, of mappings or of how rows are written."""

from .feed import FeedEntry
from .intent import Intent
from .lease import Lease
from .letters import DeadLetter, entity_digest, entity_digests
from .ownership import TableOwner, TypeState
from .parked import Arrival, AwaitedModel, KeptRow, ParkedChange
from .seat import Seat
from .staging import Generation, StagedChange
from .stream import DISPOSITIONS, FAILING, Progress, Replay, Status, Stream
from .verification import VerificationRun

__all__ = [
    "DISPOSITIONS",
    "FAILING",
    "Arrival",
    "AwaitedModel",
    "DeadLetter",
    "FeedEntry",
    "Generation",
    "Intent",
    "KeptRow",
    "Lease",
    "ParkedChange",
    "Progress",
    "Replay",
    "Seat",
    "StagedChange",
    "Status",
    "Stream",
    "TableOwner",
    "TypeState",
    "VerificationRun",
    "entity_digest",
    "entity_digests",
]
