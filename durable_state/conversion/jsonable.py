"""Python values as every reader of JSON holds them."""

from __future__ import annotations

import base64
import datetime
import decimal
import enum
import uuid
from contextlib import suppress
from typing import Any

import msgspec
from django.utils import timezone
from django.utils.duration import duration_iso_string

__all__ = ["jsonable"]

EXACT = 2**53
"""From here on JavaScript's numbers, which are doubles, leave integers out."""


def jsonable(value: Any) -> Any:
    """A Python value, and all that is inside it, as every reader of JSON holds it without loss.

    Integers beyond 2**53 become text, which JavaScript would round; so do decimals, moments (in
    UTC), UUIDs and bytes (as base64).
    """
    if value is None or type(value) in (str, bool, float):
        return value
    match value:
        case enum.Enum():
            return jsonable(value.value)
        case bool() | float():
            return value
        case str():
            return str.__str__(value)  # which a text that is marked as safe would not be
        case int():
            return value if -EXACT < value < EXACT else str(int(value))
        case dict():
            return {name: jsonable(part) for name, part in value.items()}
        case list() | tuple() | set() | frozenset():
            return [jsonable(part) for part in value]
        case datetime.datetime():
            return _moment(value)
        case datetime.date() | datetime.time():
            return value.isoformat()
        case datetime.timedelta():
            return duration_iso_string(value)
        case decimal.Decimal():
            return format(value, "f")  # not str(): of zero with eight places, that makes "0E-8"
        case uuid.UUID():
            return str(value)
        case bytes() | bytearray() | memoryview():
            return base64.b64encode(bytes(value)).decode("ascii")
        case _ if hasattr(value, "isempty") and hasattr(value, "lower_inc"):
            return _range(value)
        case _:
            return _other(value)


def _moment(value: datetime.datetime) -> str:
    """In UTC, whatever zone the database or the project is in: a moment has one text."""
    if value.tzinfo is None:
        # USE_TZ is off, or somebody forgot; Django means its default time zone.
        value = value.replace(tzinfo=timezone.get_default_timezone())
    with suppress(OverflowError):  # at the ends of the years 1 and 9999
        value = value.astimezone(datetime.UTC)
    return value.isoformat().replace("+00:00", "Z")


def _range(value: Any) -> dict[str, Any]:
    """One of PostgreSQL's ranges, as Django's serializers write it."""
    if value.isempty:
        return {"empty": True}
    bounds = f"{'[' if value.lower_inc else '('}{']' if value.upper_inc else ')'}"
    return {"lower": jsonable(value.lower), "upper": jsonable(value.upper), "bounds": bounds}


def _other(value: Any) -> Any:
    try:
        return jsonable(msgspec.to_builtins(value))  # dataclasses and their like
    except TypeError:
        return str(value)
