"""Booleans and numbers."""

from __future__ import annotations

import decimal
import math
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from django.db import models
from django.db.backends.base.operations import BaseDatabaseOperations

from .limits import EXACT, Limits
from .refusal import Refused, is_finite, shown

__all__ = [
    "boolean",
    "decimal_number",
    "floating",
    "integer",
    "integer_range",
    "read_number",
]

Convert = Callable[[Any], Any]

CANONICAL_INTEGER = re.compile(r"(?:0|-?[1-9][0-9]{0,18})\Z")
DIGITS = re.compile(r"[-+]?[0-9]+\Z")
DECIMAL_TEXT = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,4})?\Z")
"""Numbers as Python, Java and JavaScript write them; JavaScript with a small e, as in ``1e-8``."""

_exact = decimal.Context(prec=2000, traps=[decimal.InvalidOperation, decimal.Inexact])


def read_number(text: str) -> float | Decimal:
    """Reads a JSON number with a point or an exponent, for decoders, as the nearest double.

    Returns a Decimal where the double is a whole number and the written number is not, as with
    ``1e-400``, so that no integer is made of it.
    Raises: ValueError, beyond a double's range.
    """
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("The number is out of a double's range.")
    if number.is_integer() and abs(number) < EXACT and Decimal(text) != number:
        return Decimal(text)
    return number


def boolean(field: models.Field[Any, Any], limits: Limits) -> Convert:
    """``true`` and ``false`` only; neither 1 nor "t"."""

    def convert(raw: Any) -> Any:
        if raw is True or raw is False:
            return raw
        raise Refused("type", f"{shown(raw)} is not a boolean.")

    return convert


def integer_range(field: models.Field[Any, Any]) -> tuple[int, int]:
    """Smallest and largest value that the column holds on every database."""
    low, high = BaseDatabaseOperations.integer_field_ranges[field.get_internal_type()]
    # MySQL's AUTO_INCREMENT takes 0 for "give me the next one".
    return (1 if isinstance(field, models.AutoField) else low), high


def integer(field: models.Field[Any, Any], limits: Limits) -> Convert:
    """An int, a number without fraction (3.0), or its canonical text ("42", neither "+42" nor
    "042"), within the column's range.
    """
    low, high = integer_range(field)

    def convert(raw: Any) -> Any:
        if type(raw) is not int:
            raw = _whole(raw)
        if low <= raw <= high:
            return raw
        raise Refused("range", f"{shown(raw)} is not between {low} and {high}.")

    return convert


def _whole(raw: Any) -> int:
    if isinstance(raw, bool):
        raise Refused("type", f"{shown(raw)} is a boolean, not an integer.")
    if isinstance(raw, int):
        return int(raw)
    if isinstance(raw, (float, Decimal)) and is_finite(raw):
        if not -EXACT < raw < EXACT:
            raise Refused(
                "precision",
                f"{shown(raw)} has a point or an exponent, which is exact below 2**53 only.",
            )
        if raw == int(raw):
            return int(raw)
    if isinstance(raw, str) and CANONICAL_INTEGER.match(raw):
        return int(raw)
    if isinstance(raw, str) and DIGITS.match(raw):
        raise Refused("type", f"{shown(raw)} would not come back unchanged from an integer field.")
    raise Refused("type", f"{shown(raw)} is not an integer.")


def floating(field: models.Field[Any, Any], limits: Limits) -> Convert:
    """A finite number that a double holds: a JSON number stands for the nearest double, but an
    integer has to equal it.
    """

    def convert(raw: Any) -> Any:
        if isinstance(raw, bool) or not isinstance(raw, (int, float, Decimal)):
            raise Refused("type", f"{shown(raw)} is not a number.")
        try:
            number = float(raw)
        except (OverflowError, ValueError) as error:  # a signaling NaN, too
            raise Refused("range", f"{shown(raw)} is out of a double's range.") from error
        if not math.isfinite(number):
            raise Refused("range", f"{shown(raw)} is not a finite double.")
        if isinstance(raw, int) and int(number) != raw:
            raise Refused("precision", f"A double does not hold {shown(raw)} exactly.")
        return number or 0.0  # not every database gives -0.0 back

    return convert


def decimal_number(field: models.DecimalField[Any, Any], limits: Limits) -> Convert:
    """A number or its text ("1.10") that fits the column's digits and places without rounding; a
    float counts as it is written.
    """
    places: int | None = field.decimal_places
    digits: int | None = field.max_digits

    def convert(raw: Any) -> Any:
        number = _decimal(raw)
        if not number.is_finite():
            raise Refused("range", f"{shown(raw)} is not a finite number.")
        if number and not -1000 < number.adjusted() < 1000:
            raise Refused("range", f"{shown(raw)} is out of range.")
        if number and digits is not None and number.adjusted() >= digits - (places or 0):
            raise Refused(
                "range",
                f"{shown(raw)} has more than {digits - (places or 0)} digits before the point.",
            )
        try:
            exact = (
                number
                if places is None
                else number.quantize(Decimal(1).scaleb(-places), context=_exact)
            )
        except (decimal.Inexact, decimal.InvalidOperation) as error:
            raise Refused(
                "precision", f"{shown(raw)} has more than {places} decimal places."
            ) from error
        if len(exact.normalize(_exact).as_tuple().digits) > limits.decimal_digits:
            raise Refused(
                "precision", f"The database keeps {limits.decimal_digits} digits of {shown(raw)}."
            )
        return exact or abs(exact)  # -0.00 is 0.00

    return convert


def _decimal(raw: Any) -> Decimal:
    match raw:
        case Decimal():
            return raw
        case bool():
            raise Refused("type", f"{shown(raw)} is a boolean, not a number.")
        case int() if abs(raw) < 10**1000:
            return Decimal(int(raw))
        case int():
            raise Refused("range", "The integer is out of range.")
        case float():
            return Decimal(repr(float(raw)))
        case str() if len(raw) < 2000 and DECIMAL_TEXT.match(raw):
            return Decimal(raw)
        case _:
            raise Refused("type", f"{shown(raw)} is not a decimal number.")
