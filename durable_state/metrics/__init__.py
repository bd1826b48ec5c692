"""What Prometheus scrapes: what the tables say of every stream, beside what this process counted.

An entry point. Needs the extra ``metrics``.
"""

from .collector import StreamCollector
from .view import metrics

__all__ = ["StreamCollector", "metrics"]
