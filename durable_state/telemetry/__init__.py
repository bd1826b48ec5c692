"""Reports what a process does, as it does it: counters for Prometheus, spans for OpenTelemetry.

Both are optional: without their packages, a report costs a call and does nothing. Imports nothing
of this app but its errors; callers pass plain numbers and names.
"""

from .counters import ResetReason, count_commit, count_lost_lease, count_reset, count_retry
from .serving import serve_counters
from .spans import span

__all__ = [
    "ResetReason",
    "count_commit",
    "count_lost_lease",
    "count_reset",
    "count_retry",
    "serve_counters",
    "span",
]
