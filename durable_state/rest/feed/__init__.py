"""The feed as a durable stream: the read half of the protocol, for the official clients.

May wait for the hub, and nothing else. Spec: PROTOCOL.md 5.5 to 5.8, 8, 10. Why: decision 65.
"""

from .views import FeedView

__all__ = ["FeedView"]
