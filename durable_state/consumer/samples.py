"""Samples of what happens to streams, for charts.

They are collected in memory, written a few times a minute for all streams of a seat together, and
thinned by age. Why: decision 74.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connections
from django.db.models import QuerySet

from durable_state.databases.clock import database_now
from durable_state.databases.transaction import commit_transaction
from durable_state.models import StreamSample

from .lag import WORTH, Lag

__all__ = ["SAMPLE_SECONDS", "Samples", "delete_samples", "merge_samples", "write_samples"]

SAMPLE_SECONDS = 10.0
"""Seconds that one sample covers."""
FINE = timedelta(minutes=10)
"""Age at which the samples of a minute are merged into one."""
KEPT = timedelta(hours=1)
"""Age at which they are deleted."""
MERGED = timedelta(minutes=5)
"""How far back samples to be merged are looked for; older ones were merged, or are deleted soon."""
BATCH = 500
"""Samples in one statement."""


@dataclass(slots=True)
class _Tally:
    messages: int = 0
    commits: int = 0
    seconds: float = 0.0


class Samples:
    """What has happened to the streams of a seat and is not written yet.

    Bounded: one tally for each stream. For one event loop.
    """

    def __init__(self) -> None:
        self._tallies: dict[int, _Tally] = {}
        self._since = time.monotonic()

    def count(self, stream_pk: int, messages: int, seconds: float) -> None:
        """Counts a commit of so many messages of a stream, which took so many seconds."""
        tally = self._tallies.setdefault(stream_pk, _Tally())
        tally.messages += messages
        tally.commits += 1
        tally.seconds += seconds

    def take(self, lags: Iterable[Lag]) -> list[StreamSample]:
        """The samples since the last call, for streams that were committed to or that lag."""
        now = time.monotonic()
        since, self._since = self._since, now
        tallies, self._tallies = self._tallies, {}
        seconds = {lag.stream_pk: lag.seconds for lag in lags}
        lagging = {pk for pk, lag in seconds.items() if lag >= WORTH}
        return [
            _sample(pk, tallies.get(pk, _Tally()), now - since, seconds.get(pk, 0.0))
            for pk in sorted(lagging | tallies.keys())
        ]


def _sample(stream_pk: int, tally: _Tally, seconds: float, lag: float) -> StreamSample:
    return StreamSample(
        stream_id=stream_pk,
        seconds=round(seconds, 3),
        messages=tally.messages,
        commits=tally.commits,
        commit_ms=round(1000 * tally.seconds, 3),
        lag_ms=round(1000 * lag, 3),
    )


def write_samples(using: str, samples: list[StreamSample]) -> None:
    """Writes them, as of now: one statement for several hundred streams."""
    at = database_now(using)
    for each in samples:
        each.at = at
    StreamSample.objects.using(using).bulk_create(samples, batch_size=BATCH)


def delete_samples(using: str, most: int) -> int:
    """Deletes samples that are too old, oldest first, at most ``most`` at once; returns how
    many.
    """
    rows = StreamSample.objects.using(using)
    old = rows.filter(at__lt=database_now(using) - KEPT).order_by("at")
    pks = list(old.values_list("pk", flat=True)[:most])
    _delete(rows, pks)
    return len(pks)


def merge_samples(using: str, most: int) -> int:
    """Merges each stream's samples of a minute that is long over; looks at ``most`` at once, and
    returns at how many it looked.
    """
    rows = StreamSample.objects.using(using)
    until = (database_now(using) - FINE).replace(second=0, microsecond=0)
    fine = rows.filter(at__lt=until, at__gte=until - MERGED, seconds__lt=60)
    # If several processes come at once, one of them merges each sample.
    can_skip = connections[using].features.has_select_for_update_skip_locked
    with commit_transaction(using):
        # All of a stream's samples of a minute together, so that it is not split.
        unmerged = fine.order_by("stream", "at").select_for_update(skip_locked=can_skip)
        found = list(unmerged[:most])
        minutes: defaultdict[tuple[int, datetime], list[StreamSample]] = defaultdict(list)
        for each in found:
            end = each.at.replace(second=0, microsecond=0) + timedelta(minutes=1)
            minutes[each.stream_id, end].append(each)
        if len(found) == most and len(minutes) > 1:
            minutes.popitem()  # there may be more of it
        _delete(rows, [each.pk for same in minutes.values() for each in same])
        rows.bulk_create(
            [_merged(stream_pk, end, same) for (stream_pk, end), same in minutes.items()],
            batch_size=BATCH,
        )
    return len(found)


def _merged(stream_pk: int, end: datetime, same: list[StreamSample]) -> StreamSample:
    return StreamSample(
        stream_id=stream_pk,
        at=end,
        seconds=60.0,
        messages=sum(each.messages for each in same),
        commits=sum(each.commits for each in same),
        commit_ms=sum(each.commit_ms for each in same),
        lag_ms=max(each.lag_ms for each in same),
    )


def _delete(rows: QuerySet[StreamSample], pks: list[int]) -> None:
    for start in range(0, len(pks), BATCH):
        rows.filter(pk__in=pks[start : start + BATCH]).delete()
