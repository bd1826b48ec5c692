"""Why a value is refused."""

from __future__ import annotations

import math
import reprlib
from decimal import Decimal
from typing import Any

from .printable import printable

__all__ = ["Refused", "is_finite", "shown", "storable_text"]


class _Short(reprlib.Repr):
    """Constants and numbers as JSON writes them, which is where the values are from."""

    def repr1(self, x: Any, level: int) -> str:
        match x:
            case bool():
                return "true" if x else "false"
            case None:
                return "null"
            case Decimal():
                return self.repr_str(str(x), level)[1:-1]
        return super().repr1(x, level)


_short = _Short()
_short.maxstring = _short.maxother = _short.maxlong = 60


class Refused(Exception):
    """A value, a key or a change is refused; the change becomes a dead letter.

    ``code`` is stable (docs/reference/conversion.md lists them): "type", "null", "nul", "invalid",
    "too-long", "range", "precision", "key" here; callers add their own. ``detail`` is one sentence
    for operators.
    """

    def __init__(self, code: str, detail: str) -> None:
        # A detail may quote what no database stores.
        detail = printable(detail)
        super().__init__(code, detail)
        self.code = code
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.code}: {self.detail}"


def shown(raw: Any) -> str:
    """A value as messages quote it, cut if it is long."""
    try:
        return _short.repr(raw)
    except Exception:  # a number too long to be printed, or a foreign type
        return f"a {type(raw).__name__}"


def is_finite(number: float | Decimal) -> bool:
    """Whether it is neither infinite nor NaN. (float() raises for one of Decimal's NaNs.)"""
    return number.is_finite() if isinstance(number, Decimal) else math.isfinite(number)


def storable_text(text: str) -> str:
    """The text as a plain ``str`` that every database holds unchanged.

    Raises: Refused ("nul", "invalid").
    """
    if type(text) is not str:
        text = str.__str__(text)
    if "\0" in text:
        raise Refused("nul", f"{shown(text)} holds a NUL character, which PostgreSQL cannot store.")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise Refused(
                "invalid", f"{shown(text)} holds a lone surrogate, which is not a character."
            ) from error
    return text
