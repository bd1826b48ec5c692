"""What a consuming process counts, in the default registry of prometheus_client.

What the tables can tell at any time (lag, messages by disposition, letters) is not counted here:
``durable_state.metrics`` reads it when it is scraped. If ``PROMETHEUS_MULTIPROC_DIR`` is set,
prometheus_client keeps the counters in files there, and merges those of all processes.
"""

from __future__ import annotations

import enum
from functools import lru_cache

try:
    from prometheus_client import Counter, Histogram
except ImportError:  # it comes with the extra `metrics`
    _IS_COUNTED = False
else:
    _IS_COUNTED = True
    _COMMITS = Counter(
        "durable_state_commits", "Commits of a stream and of its replays.", ["stream"]
    )
    _MESSAGES = Counter(
        "durable_state_committed_messages", "Messages in these commits.", ["stream"]
    )
    _FEED_ENTRIES = Counter("durable_state_feed_entries", "Entries of the feed log.", ["stream"])
    _FEED_BYTES = Counter("durable_state_feed_bytes", "Bytes of these entries.", ["stream"])
    _RETRIES = Counter("durable_state_retries", "Failures that were retried.", ["stream", "error"])
    _RESETS = Counter(
        "durable_state_resets", "Times that a stream was replayed from its start.", ["reason"]
    )
    _LOST_LEASES = Counter("durable_state_lost_leases", "Leases that ended while they were used.")

    # For all streams together: per stream, thousands of streams would have a dozen series each.
    _COMMIT_SECONDS = Histogram(
        "durable_state_commit_seconds",
        "Seconds that a commit takes, including the preparation of its batch.",
        buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
    )
    _BATCH_MESSAGES = Histogram(
        "durable_state_batch_messages",
        "Messages in a commit.",
        buckets=(1, 2, 5, 10, 50, 100, 500, 1_000, 5_000, 10_000, 50_000),
    )

__all__ = ["ResetReason", "count_commit", "count_lost_lease", "count_reset", "count_retry"]


class ResetReason(enum.StrEnum):
    """Why a stream is folded from its start."""

    ASKED = "asked"
    """Somebody asked for it."""
    RECREATED = "recreated"
    """Another stream was found under its URL."""
    GONE = "gone"
    """Its server no longer holds what follows the position."""


def count_commit(stream_name: str, messages: int, seconds: float, feed_bytes: int) -> None:
    """Counts a commit; ``feed_bytes`` is the size of its feed entry, 0 if it has none."""
    if not _IS_COUNTED:
        return
    commits, committed_messages, feed_entries, bytes_of_entries = _counters_of(stream_name)
    commits.inc()
    _COMMIT_SECONDS.observe(seconds)
    if messages:
        committed_messages.inc(messages)
        _BATCH_MESSAGES.observe(messages)
    if feed_bytes:
        feed_entries.inc()
        bytes_of_entries.inc(feed_bytes)


@lru_cache(maxsize=4096)
def _counters_of(stream_name: str) -> list[Counter]:
    """The counters of one stream: finding one by its label costs as much as counting does."""
    return [each.labels(stream_name) for each in (_COMMITS, _MESSAGES, _FEED_ENTRIES, _FEED_BYTES)]


def count_retry(stream_name: str, error: Exception) -> None:
    """Counts a failure that is retried, by the error's class."""
    if _IS_COUNTED:
        _RETRIES.labels(stream_name, type(error).__name__).inc()


def count_reset(reason: ResetReason) -> None:
    """Counts that a stream has to be folded from its start."""
    if _IS_COUNTED:
        _RESETS.labels(reason.value).inc()


def count_lost_lease() -> None:
    """Counts a lease that was lost, or had to be given up, while it was in use."""
    if _IS_COUNTED:
        _LOST_LEASES.inc()
