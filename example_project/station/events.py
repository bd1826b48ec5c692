"""The station's events: a timetable, changes to it, and messages that no mapping can accept."""

from __future__ import annotations

from secrets import choice, randbelow
from typing import Any

from durable_state.protocol import encode_change

__all__ = ["TIMETABLE", "garbage", "news", "timetable"]

TIMETABLE = [
    ("ICE 73", "Zürich", "10:05", "7"),
    ("EC 114", "Ljubljana", "10:12", "4"),
    ("TGV 9561", "Paris Est", "10:24", "2"),
    ("RJX 262", "Budapest", "10:31", "12"),
    ("IC 2065", "Nürnberg", "10:40", "9"),
    ("NJ 40420", "Roma", "10:58", "5"),
]


def timetable() -> list[bytes]:
    """Returns what a fresh stream holds: every train on time."""
    return [encode_change("departure", train[0], "upsert", _value(*train)) for train in TIMETABLE]


def news(txid: str) -> bytes:
    """Returns an event: a train with a new delay and platform, so that its row visibly changes."""
    train, destination, leaves_at, _ = choice(TIMETABLE)
    platform, delay = str(1 + randbelow(16)), 5 * randbelow(12)
    value = _value(train, destination, leaves_at, platform, delay)
    return encode_change("departure", train, "upsert", value, txid=txid)


def garbage(txid: str) -> list[bytes]:
    """Returns four messages, each wrong in its own way."""
    return [
        b"5",
        b'{"type": "departure", "key": "ICE 1", "headers": {"operation": "explode"}}',
        encode_change(
            "departure",
            "ICE 404",
            "upsert",
            {"destination": "Nowhere", "leavesAt": "11:11", "platform": "1", "delay": "soon"},
            txid=txid,
        ),
        encode_change(
            "departure",
            "IC 500",
            "upsert",
            {"destination": "Elsewhere", "leavesAt": "half past eleven", "platform": "2"},
            txid=txid,
        ),
    ]


def _value(
    train: str, destination: str, leaves_at: str, platform: str, delay: int = 0
) -> dict[str, Any]:
    return {
        "destination": destination,
        "leavesAt": leaves_at,
        "platform": platform,
        "delay": delay,
    }
