"""What this app stores. Models know nothing of HTTP, of mappings or of how rows are written."""

from .feed import FeedEntry
from .intent import Intent
from .lease import Lease
from .letters import DeadLetter, ParkedChange, entity_digest
from .ownership import TableOwner, TypeState
from .staging import Generation, StagedChange
from .stream import Status, Stream

__all__ = [
    "DeadLetter",
    "FeedEntry",
    "Generation",
    "Intent",
    "Lease",
    "ParkedChange",
    "StagedChange",
    "Status",
    "Stream",
    "TableOwner",
    "TypeState",
    "entity_digest",
]
