"""What a process tells of its work as it does it: counters for Prometheus, spans for OpenTelemetry.

Both are optional: without their packages, telling costs a call and does nothing. Looks at nothing
of ours but errors; whoever works tells it, in plain numbers and names.
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
