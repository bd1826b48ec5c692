"""The feed as a durable stream: the read half of the protocol, for the official clients.

It may wait for the hub, and for nothing else.

Spec: PROTOCOL.md 5.5 to 5.8, 8, 10. Why: decision 65.
"""

from .views import FeedView

__all__ = ["FeedView"]
