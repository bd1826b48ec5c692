"""What this app stores. Knows nothing of HTTP, of mappings, or of how rows are written."""

from .doorbell import Doorbell, WakeStream
from .feed import FeedEntry, HeldRows
from .intent import Intent
from .lease import Lease
from .letters import DeadLetter, entity_digest, entity_digests
from .ownership import TableOwner, TypeState
from .parked import Arrival, AwaitedModel, KeptRow, ParkedChange
from .sample import StreamSample
from .seat import Seat
from .staging import Generation, StagedChange
from .stream import (
    DISPOSITIONS,
    DOORBELLS,
    FAILING,
    FOLLOWED,
    STREAM_NAME,
    Live,
    Progress,
    Replay,
    Status,
    Stream,
)
from .verification import VerificationRun

__all__ = [
    "DISPOSITIONS",
    "DOORBELLS",
    "FAILING",
    "FOLLOWED",
    "STREAM_NAME",
    "Arrival",
    "AwaitedModel",
    "DeadLetter",
    "Doorbell",
    "FeedEntry",
    "Generation",
    "HeldRows",
    "Intent",
    "KeptRow",
    "Lease",
    "Live",
    "ParkedChange",
    "Progress",
    "Replay",
    "Seat",
    "StagedChange",
    "Status",
    "Stream",
    "StreamSample",
    "TableOwner",
    "TypeState",
    "VerificationRun",
    "WakeStream",
    "entity_digest",
    "entity_digests",
]
