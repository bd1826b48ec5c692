"""Turns Python values into JSON that every reader holds without loss."""

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

from durable_state.conf import get_settings

from .limits import EXACT

__all__ = ["as_shown", "jsonable"]


def as_shown(value: Any) -> Any:
    """``jsonable`` for whoever is shown a row: large integers are what LARGE_INTEGERS says."""
    return jsonable(value, large_as_text=get_settings().large_integers == "text")


def jsonable(value: Any, *, large_as_text: bool = True) -> Any:
    """Turns a Python value, and everything in it, into JSON that every reader holds without loss.

    Integers of 2**53 or more, which JavaScript would round, become text; so do decimals, moments
    (in UTC), UUIDs and bytes (as base64).
    """
    if value is None or type(value) in (str, bool, float):
        return value
    match value:
        case enum.Enum():
            return jsonable(value.value, large_as_text=large_as_text)
        case bool() | float():
            return value
        case str():
            return str.__str__(value)  # not one of its subclasses, such as SafeString
        case int():
            is_small = -EXACT < value < EXACT
            return str(int(value)) if large_as_text and not is_small else value
        case dict():
            return {
                name: jsonable(part, large_as_text=large_as_text) for name, part in value.items()
            }
        case list() | tuple() | set() | frozenset():
            return [jsonable(part, large_as_text=large_as_text) for part in value]
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
            return _range(value, large_as_text)
        case _:
            return _other(value, large_as_text)


def _moment(value: datetime.datetime) -> str:
    """In UTC, whatever the database's or the project's zone is, so that a moment has one text."""
    if value.tzinfo is None:
        # USE_TZ is off, or somebody forgot; Django means its default time zone.
        value = value.replace(tzinfo=timezone.get_default_timezone())
    with suppress(OverflowError):  # at the ends of the years 1 and 9999
        value = value.astimezone(datetime.UTC)
    return value.isoformat().replace("+00:00", "Z")


def _range(value: Any, large_as_text: bool) -> dict[str, Any]:
    """One of PostgreSQL's ranges, as Django's serializers write it."""
    if value.isempty:
        return {"empty": True}
    bounds = f"{'[' if value.lower_inc else '('}{']' if value.upper_inc else ')'}"
    lower, upper = (
        jsonable(each, large_as_text=large_as_text) for each in (value.lower, value.upper)
    )
    return {"lower": lower, "upper": upper, "bounds": bounds}


def _other(value: Any, large_as_text: bool) -> Any:
    try:
        # Dataclasses and their like.
        return jsonable(msgspec.to_builtins(value), large_as_text=large_as_text)
    except TypeError:
        return str(value)
