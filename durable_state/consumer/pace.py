"""How large batches are: large where much is to be caught up with and the database is quick, small where it is slow.

Why: decision 19.
"""

from __future__ import annotations

from durable_state.conf import get_settings
from durable_state.transport import BatchLimits

__all__ = ["Pace"]

FIRST = 5000
"""Messages in the first batch, when nothing is known of the database yet."""
SECONDS = 1.0
"""What a commit shall take: long beside what any commit costs."""
SHARE = 10
"""How many times shorter than the lease it shall be moreover, for the timeouts inside of it."""
ENOUGH = 1000
"""Messages to which a batch is made smaller for being slow; where so few are slow and succeed, it may be each commit that is, whatever it holds."""
SLOWER = 10
"""How many times smaller batches become when one failed: a slow database, or a lock, may have kept it from ending in time."""


class Pace:
    """The limits of a reader's batches, which follow how long commits take; never more than BATCH_ROWS and BATCH_BYTES.

    While a stream is live there is nothing to decide: whatever came while one batch was committed makes the next.
    """

    def __init__(self, failures: int = 0) -> None:
        """``failures`` of the stream in a row: a worker whose time is up begins no larger than where its predecessor failed."""
        settings = get_settings()
        self._most = settings.batch_rows
        self._seconds = min(SECONDS, settings.lease_seconds / SHARE)
        self.limits = BatchLimits(
            min(FIRST, self._most), settings.batch_bytes, settings.message_bytes
        )
        for _ in range(min(failures, 9)):
            self.failed()

    def took(self, messages: int, seconds: float) -> None:
        """A batch was committed."""
        rows = self.limits.rows
        if seconds > self._seconds:
            rows = max(int(messages * self._seconds / seconds), min(rows, ENOUGH))
        elif messages > rows / 2:
            rows = int(messages * min(4.0, self._seconds / seconds))
        self.limits.rows = max(1, min(rows, self._most))

    def failed(self) -> None:
        """A batch was not."""
        self.limits.rows = max(1, self.limits.rows // SLOWER)
