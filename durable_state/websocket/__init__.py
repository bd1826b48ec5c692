"""The websocket endpoint: who may connect, and the frames of the feed sent down a socket.

Knows nothing of REST or the admin.
"""

from .consumer import StateConsumer
from .multiplex import StreamsConsumer

__all__ = ["StateConsumer", "StreamsConsumer"]
