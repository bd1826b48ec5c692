"""The distribution of many durations."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import quantiles

import msgspec

__all__ = ["Spread", "spread_of"]


class Spread(msgspec.Struct):
    """The median and the 99th percentile, in milliseconds."""

    p50: float
    p99: float


def spread_of(sent_at: Mapping[str, int], seen_at: Mapping[str, int]) -> Spread:
    """From the time each key was sent to the time it was seen, both in nanoseconds of one clock."""
    milliseconds = [(seen_at[key] - sent) / 1e6 for key, sent in sent_at.items()]
    cuts = quantiles(milliseconds, n=100, method="inclusive")
    return Spread(cuts[49], cuts[98])
