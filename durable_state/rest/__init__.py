"""Read-only REST views of streams, their entities and their dead letters.

Knows nothing of websockets or the admin.
"""

from .feed import FeedView
from .views import DeadLetterList, EntityList, HealthView, StreamDetail, StreamList

__all__ = ["DeadLetterList", "EntityList", "FeedView", "HealthView", "StreamDetail", "StreamList"]
