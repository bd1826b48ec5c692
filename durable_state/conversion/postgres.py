"""PostgreSQL's own fields: arrays, hstores, ranges."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

import msgspec
from django.db import models

from .documents import JsonNull
from .numbers import integer_range
from .refusal import Refused, shown, storable_text

__all__ = ["part_by_part"]

Convert = Callable[[Any], Any]

BOUNDS = ("[)", "[]", "(]", "()")


def part_by_part(
    column: models.Field[Any, Any], convert_parts_of: Callable[[models.Field[Any, Any]], Convert]
) -> Convert | None:
    """The conversion of a field that holds values of another field; None for any other field.

    ``convert_parts_of`` returns the conversion of that other field.
    """
    if not type(column).__module__.startswith("django.contrib.postgres."):
        return None  # a subclass of them goes through its to_python
    base_field: models.Field[Any, Any] | None = getattr(column, "base_field", None)
    if type(column).__name__ == "HStoreField":
        return _hstore
    if isinstance(base_field, type):  # Django's range fields name a class
        base_field = base_field()
    if base_field is None:
        return None
    part = convert_parts_of(base_field)
    if type(column).__name__ == "ArrayField":
        return _array_converter(part, _dimensions(base_field))
    if hasattr(column, "range_type"):
        return _range_converter(column, base_field, part)
    return None


def _dimensions(field: models.Field[Any, Any]) -> int:
    """The number of dimensions of the field's arrays; 0 if its values are not arrays."""
    count = 0
    while type(field).__name__ == "ArrayField":
        count, field = count + 1, field.base_field  # type: ignore[attr-defined]
    return count


def _array_converter(part: Convert, dimensions: int) -> Convert:
    """Takes a list, whose parts have ``dimensions`` themselves."""

    def convert(raw: Any) -> Any:
        array = [_plain(part(each)) for each in _sequence(raw)]
        if dimensions and array:
            shapes = {_shape(each, dimensions) for each in array}
            if len(shapes) > 1 or shapes == {(0,)}:  # PostgreSQL 17 makes [] of [[], []]
                raise Refused(
                    "invalid", f"{shown(raw)} has parts that are empty, or of different lengths."
                )
        return array

    return convert


def _shape(array: list[Any] | None, dimensions: int) -> tuple[int, ...] | None:
    """The lengths of the array and, by level, of its parts, which all have the same shape."""
    if array is None or not dimensions:
        return None
    within = _shape(array[0], dimensions - 1) if array else None
    return (len(array), *(within or ()))


def _plain(value: Any) -> Any:
    """A part as an array holds it: among documents, None is JSON's null, not SQL's NULL."""
    return None if isinstance(value, JsonNull) else value


def _sequence(raw: Any) -> list[Any] | tuple[Any, ...]:
    if isinstance(raw, (list, tuple)):
        return raw
    raise Refused("type", f"{shown(raw)} is not a list.")


def _hstore(raw: Any) -> dict[str, str | None]:
    if not isinstance(raw, dict):
        raise Refused("type", f"{shown(raw)} is not an object.")
    for text in (*raw.keys(), *(value for value in raw.values() if value is not None)):
        if not isinstance(text, str):
            raise Refused("type", f"{shown(text)} is not text, and an hstore holds nothing else.")
        storable_text(text)
    return dict(raw)


def _range_converter(
    column: models.Field[Any, Any], base_field: models.Field[Any, Any], part: Convert
) -> Convert:
    """Takes ``{"lower": 1, "upper": 3, "bounds": "[)"}``, ``{"empty": true}``, or a list of both
    ends.

    The result has the form in which PostgreSQL gives it back: a range of integers or of dates
    includes its lower end and excludes its upper one.
    """
    range_type: Any = column.range_type  # type: ignore[attr-defined]
    step = _step(base_field)
    usual = getattr(column, "default_bounds", "[)")

    def convert(raw: Any) -> Any:
        ends = _ends(raw, usual)
        if ends is None:
            return range_type(empty=True)
        lower: Any = None if ends[0] is None else part(ends[0])
        upper: Any = None if ends[1] is None else part(ends[1])
        bounds = ends[2]
        is_open = lower is None or upper is None
        if not is_open and lower > upper:
            raise Refused("invalid", f"{shown(raw)} ends before it begins.")

        opening = "(" if lower is None else bounds[0]
        closing = ")" if upper is None else bounds[1]
        if step is not None and lower is not None and opening == "(":
            lower, opening = _moved(base_field, lower, step), "["
        if step is not None and closing == "]":
            upper, closing = _moved(base_field, upper, step), ")"

        if not is_open and (lower > upper or (lower == upper and opening + closing != "[]")):
            return range_type(empty=True)
        return range_type(lower, upper, opening + closing)

    return convert


def _ends(raw: Any, usual: str) -> tuple[Any, Any, str] | None:
    """The lower end, the upper end and the bounds; None for an empty range."""
    if isinstance(raw, str):  # as Django's serializers write it
        try:
            raw = msgspec.json.decode(raw)
        except msgspec.DecodeError as error:
            raise Refused("invalid", f"{shown(raw)} is not a range.") from error
    if hasattr(raw, "lower_inc"):  # a driver's range, from `prepare`
        bounds = ("[" if raw.lower_inc else "(") + ("]" if raw.upper_inc else ")")
        return None if raw.isempty else (raw.lower, raw.upper, bounds)
    if isinstance(raw, (list, tuple)) and len(raw) == 2:
        return raw[0], raw[1], usual
    if not isinstance(raw, dict) or raw.keys() - {"lower", "upper", "bounds", "empty"}:
        raise Refused("type", f"{shown(raw)} is not a range.")
    if raw.get("empty") is True:
        return None
    bounds = raw.get("bounds", "[)")
    if bounds not in BOUNDS:
        raise Refused("invalid", f"{shown(bounds)} are not the bounds of a range.")
    return raw.get("lower"), raw.get("upper"), bounds


def _step(base_field: models.Field[Any, Any]) -> Any:
    """The step from one value to the next; None if there are values in between."""
    if isinstance(base_field, models.IntegerField):
        return 1
    if isinstance(base_field, models.DateField) and not isinstance(
        base_field, models.DateTimeField
    ):
        return datetime.timedelta(days=1)
    return None


def _moved(base_field: models.Field[Any, Any], end: Any, step: Any) -> Any:
    try:
        moved = end + step
    except OverflowError as error:
        raise Refused("range", f"There is no day after {end}.") from error
    if isinstance(moved, int) and moved > integer_range(base_field)[1]:
        raise Refused("range", f"PostgreSQL writes the range with {moved}, which is too large.")
    return moved
