"""What Prometheus scrapes: every stream as the tables show it, and what this process has counted.

An entry point. Needs the extra ``metrics``.
"""

from .collector import StreamCollector
from .view import metrics

__all__ = ["StreamCollector", "metrics"]
