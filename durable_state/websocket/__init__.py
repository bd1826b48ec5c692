"""The websocket endpoint: who may connect, and the frames of the feed sent down one socket.

Knows nothing of REST or the admin.
"""

from .consumer import StateConsumer

__all__ = ["StateConsumer"]
