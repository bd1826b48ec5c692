"""Dates, times, durations."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime, parse_duration

from .limits import Limits
from .refusal import Refused, shown

__all__ = ["date", "date_and_time", "duration", "moments", "time"]

Convert = Callable[[Any], Any]

# No database keeps more than microseconds: digits behind them must be zeros.
FINER = re.compile(r"[.,][0-9]{6}0*[1-9]")
_IN_UTC = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?Z"
IN_UTC = re.compile(rf"{_IN_UTC}\Z")
"""What most services write; it needs no further check."""
LINES_IN_UTC = re.compile(rf"(?:{_IN_UTC}\n)*+\Z")
ISO_DURATION = re.compile(
    r"(?P<sign>[-+]?)P(?=[0-9T])"
    r"(?:(?P<weeks>[0-9]+(?:[.,][0-9]+)?)W)?(?:(?P<days>[0-9]+(?:[.,][0-9]+)?)D)?"
    r"(?:T(?=[0-9])(?:(?P<hours>[0-9]+(?:[.,][0-9]+)?)H)?(?:(?P<minutes>[0-9]+(?:[.,][0-9]+)?)M)?"
    r"(?:(?P<seconds>[0-9]+(?:[.,][0-9]+)?)S)?)?\Z"
)
MICROSECONDS = {
    "weeks": 604_800_000_000,
    "days": 86_400_000_000,
    "hours": 3_600_000_000,
    "minutes": 60_000_000,
    "seconds": 1_000_000,
}


def date_and_time(field: models.Field[Any, Any], limits: Limits) -> Convert:
    """ISO 8601 text, as Django reads it, or a date alone.

    The result is in UTC if USE_TZ is on. A text without an offset is taken to be in Django's
    default time zone.
    """

    def convert(raw: Any) -> Any:
        if type(raw) is str and limits.zone is None and IN_UTC.match(raw) and settings.USE_TZ:
            with suppress(ValueError):  # such as a 13th month, of which the parser below says more
                return datetime.datetime.fromisoformat(raw)
        if isinstance(raw, datetime.datetime):
            moment = raw
        elif isinstance(raw, datetime.date):
            # Naive until the zone is known.
            moment = datetime.datetime(raw.year, raw.month, raw.day)  # noqa: DTZ001
        else:
            moment = _parse(parse_datetime, raw, "date and time")
        try:
            return _in_utc(moment, limits.zone) if settings.USE_TZ else _in_default_zone(moment)
        except OverflowError as error:
            raise Refused("range", f"{shown(raw)} is not within the years 1 to 9999.") from error

    return convert


def moments(texts: Sequence[Any], limits: Limits) -> list[datetime.datetime] | None:
    """What ``date_and_time`` makes of each of the texts; None if one of them is not written as most
    services write it.
    """
    try:
        if settings.USE_TZ and limits.zone is None and LINES_IN_UTC.match("\n".join([*texts, ""])):
            return list(map(datetime.datetime.fromisoformat, texts))
    except (TypeError, ValueError):
        pass  # not texts, or not moments
    return None


def _in_utc(moment: datetime.datetime, kept_in: datetime.tzinfo | None) -> datetime.datetime:
    """The moment in UTC.

    Raises: Refused, if another moment has the same local time in ``kept_in``, the zone in which the
    database keeps it, because the database could not give it back.
    """
    if timezone.is_naive(moment):
        moment = _aware_in_default_zone(moment)
    if kept_in is not None and _is_ambiguous(moment.astimezone(kept_in)):
        raise Refused(
            "invalid",
            f"{moment.isoformat()} is one of two moments that have the same local time"
            f" in {kept_in}, in which the database keeps it.",
        )
    return moment.astimezone(datetime.UTC)


def _in_default_zone(moment: datetime.datetime) -> datetime.datetime:
    if timezone.is_naive(moment):
        return _aware_in_default_zone(moment).replace(tzinfo=None, fold=0)
    local = moment.astimezone(timezone.get_default_timezone())
    if _is_ambiguous(local):
        raise Refused(
            "invalid",
            f"{moment.isoformat()} is one of two moments that have the same local time;"
            " USE_TZ is off.",
        )
    return local.replace(tzinfo=None, fold=0)


def _aware_in_default_zone(moment: datetime.datetime) -> datetime.datetime:
    """The moment that a time without an offset stands for in Django's default time zone.

    Raises: Refused, if it happens twice there, or never.
    """
    aware = moment.replace(tzinfo=timezone.get_default_timezone())
    if _is_ambiguous(aware):
        zone = timezone.get_default_timezone_name()
        raise Refused(
            "invalid", f"{moment.isoformat()} has no offset and happens twice, or never, in {zone}."
        )
    return aware


def _is_ambiguous(local: datetime.datetime) -> bool:
    """Whether this local time happens twice, or never, because the clocks change in its zone."""
    return local.replace(fold=0).utcoffset() != local.replace(fold=1).utcoffset()


def date(field: models.Field[Any, Any], limits: Limits) -> Convert:
    """ISO 8601 text of a date, without a time."""

    def convert(raw: Any) -> Any:
        if isinstance(raw, datetime.date) and not isinstance(raw, datetime.datetime):
            return raw
        return _parse(parse_date, raw, "date")

    return convert


def time(field: models.Field[Any, Any], limits: Limits) -> Convert:
    """ISO 8601 text of a time of day, without an offset."""

    def convert(raw: Any) -> Any:
        moment = (
            raw
            if isinstance(raw, datetime.time)
            else _parse(datetime.time.fromisoformat, raw, "time")
        )
        if moment.tzinfo is not None:
            raise Refused(
                "invalid", f"{shown(raw)} has an offset, which a time column does not keep."
            )
        return moment.replace(fold=0)

    return convert


def duration(field: models.Field[Any, Any], limits: Limits) -> Convert:
    """ISO 8601 text in weeks, days, hours, minutes and seconds, or Django's "3 04:05:06.7"; whole
    microseconds, 64 bits of them.
    """

    def convert(raw: Any) -> Any:
        if isinstance(raw, datetime.timedelta):
            span = raw
        elif isinstance(raw, str) and (match := ISO_DURATION.match(raw)):
            span = _iso_duration(raw, match)
        else:
            span = _parse(_parse_duration, raw, "duration")
        if abs(span // datetime.timedelta(microseconds=1)) >= 2**63:
            raise Refused("range", f"{shown(raw)} has more than 64 bits of microseconds.")
        return span

    return convert


def _parse_duration(raw: str) -> datetime.timedelta | None:
    return None if "P" in raw else parse_duration(raw)  # Django reads a bare "P" as no time at all


def _iso_duration(raw: str, match: re.Match[str]) -> datetime.timedelta:
    """Exact, where Django's parser goes through floats."""
    if len(raw) > 200:
        raise Refused("invalid", f"{shown(raw)} is not a duration.")
    total = sum(
        Decimal(part.replace(",", ".")) * MICROSECONDS[unit]
        for unit in MICROSECONDS
        if (part := match[unit]) is not None
    )
    if total >= 2**63:
        raise Refused("range", f"{shown(raw)} has more than 64 bits of microseconds.")
    if total != int(total):
        raise Refused("precision", f"{shown(raw)} has fractions of a microsecond.")
    return datetime.timedelta(microseconds=-int(total) if match["sign"] == "-" else int(total))


def _parse(parse: Callable[[str], Any], raw: Any, what: str) -> Any:
    if not isinstance(raw, str):
        raise Refused("type", f"{shown(raw)} is not a {what} in ISO 8601 text.")
    if not raw.isascii() or raw != raw.strip() or len(raw) > 100:
        raise Refused("invalid", f"{shown(raw)} is not a {what}.")
    if FINER.search(raw):
        raise Refused("precision", f"{shown(raw)} has fractions of a microsecond.")
    try:
        parsed = parse(raw)
    except OverflowError as error:
        raise Refused("range", f"{shown(raw)} is out of range.") from error
    except ValueError as error:
        raise Refused("invalid", f"{shown(raw)} is not a {what}.") from error
    if parsed is None:
        raise Refused("invalid", f"{shown(raw)} is not a {what}.")
    return parsed
