"""Read-only REST views of streams, their entities, dead letters and parked changes.

Knows nothing of websockets or the admin.
"""

from .entities import EntityList
from .feed import FeedView
from .letters import DeadLetterList, ParkedChangeList
from .streams import HealthView, StreamDetail, StreamList

__all__ = [
    "DeadLetterList",
    "EntityList",
    "FeedView",
    "HealthView",
    "ParkedChangeList",
    "StreamDetail",
    "StreamList",
]
