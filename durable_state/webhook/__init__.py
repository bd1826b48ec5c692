"""What stream servers call when there is something to read: it verifies, and rings.

Knows no other entry point.
"""

from .views import doorbell

__all__ = ["doorbell"]
