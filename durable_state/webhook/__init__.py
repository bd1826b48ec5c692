"""The webhook that stream servers call when there is something to read: verifies, then rings.

Knows no other entry point.
"""

from .views import doorbell

__all__ = ["doorbell"]
