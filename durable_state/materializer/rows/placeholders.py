"""Makes values that no row has, for unique columns that must not be NULL while their values change
hands.

Why: decision 27.
"""

from __future__ import annotations

import datetime
import random
import uuid
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper

__all__ = ["placeholders"]

SHORTEST = 6
"""Characters that a random text needs to be safely unused."""

_ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz"


def placeholders(
    field: models.Field[Any, Any], connection: BaseDatabaseWrapper, count: int
) -> list[Any] | None:
    """``count`` different values that no row can be expected to have; None where there are none.

    They never outlive the transaction.
    """
    make = _maker(field, connection)
    if make is None:
        return None
    values: list[Any] = []
    seen: set[Any] = set()
    while len(values) < count:
        value = make()
        if value not in seen:
            seen.add(value)
            values.append(value)
    return values


def _maker(field: models.Field[Any, Any], connection: BaseDatabaseWrapper) -> Any:
    dice = random.SystemRandom()
    if field.remote_field is not None or field.choices:
        return None  # the database, or an enum type, may check the value
    if isinstance(field, models.CharField | models.TextField):
        length = min(field.max_length or 32, 32)
        if length < SHORTEST:
            return None
        return lambda: "".join(dice.choices(_ALPHABET, k=length))
    if isinstance(field, models.IntegerField):
        low, high = connection.ops.integer_field_range(field.get_internal_type())
        low = -(2**63) if low is None else low
        high = 2**63 - 1 if high is None else high
        # From a range in which few numbers are likely to be in use.
        return lambda: dice.randint(low, low // 2) if low < 0 else dice.randint(high // 2, high)
    if isinstance(field, models.UUIDField):
        return uuid.uuid4
    if isinstance(field, models.DecimalField):
        digits = field.max_digits or 20
        if digits < SHORTEST:
            return None
        scale = Decimal(1).scaleb(-(field.decimal_places or 0))
        return lambda: -dice.randint(10 ** (digits - 1), 10**digits - 1) * scale
    if isinstance(field, models.FloatField):
        return lambda: -dice.uniform(1e200, 1e300)
    if isinstance(field, models.DateTimeField):
        zone = datetime.UTC if settings.USE_TZ else None
        last = datetime.datetime(9000, 1, 1, tzinfo=zone)
        return lambda: last + datetime.timedelta(seconds=dice.randint(0, 10**10))
    if isinstance(field, models.DateField):
        return lambda: (
            datetime.date(2000 + dice.randint(1000, 7900), 1, 1)
            + datetime.timedelta(days=dice.randint(0, 300))
        )
    if isinstance(field, models.BinaryField):
        return lambda: uuid.uuid4().bytes
    return None
