"""How long something took, of many times."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import quantiles

import msgspec

__all__ = ["Spread", "spread_of"]


class Spread(msgspec.Struct):
    """Milliseconds of half of the events, and of all but one in a hundred."""

    p50: float
    p99: float


def spread_of(sent_at: Mapping[str, int], seen_at: Mapping[str, int]) -> Spread:
    """From when each key was sent until it was seen, both in nanoseconds of one clock."""
    milliseconds = [(seen_at[key] - sent) / 1e6 for key, sent in sent_at.items()]
    cuts = quantiles(milliseconds, n=100, method="inclusive")
    return Spread(cuts[49], cuts[98])
