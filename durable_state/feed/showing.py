"""A row that cannot be read or represented costs itself alone: it is left out, as the log says."""

from __future__ import annotations

import logging
import time
from collections.abc import Generator, Iterable, Sequence
from typing import Any

import django.db
from django.db import models

from durable_state.registry import EntityMapping

from .frames import encode_value

__all__ = ["QUIET_SECONDS", "iterate_shown", "read_shown", "shown_value"]

logger = logging.getLogger("durable_state.feed")

CHUNK_ROWS = 50
"""Rows that are held at once: each may have a megabyte."""
QUIET_SECONDS = 60.0
"""Seconds for which the log keeps quiet about more rows of a model with the same kind of error."""

_said: dict[tuple[str, str], float] = {}


def read_shown(rows: models.QuerySet[Any]) -> list[Any]:
    """The rows of a queryset, in its order; None for one that raises when it is read.

    A field's ``from_db_value`` may raise, or an image whose file is elsewhere. Database errors are
    raised: they concern all rows.
    """
    return list(_shown(rows, rows))


def iterate_shown(rows: models.QuerySet[Any]) -> Generator[Any]:
    """The same, CHUNK_ROWS at a time, where the database's client does not hold all of them."""
    return _shown(rows, rows.iterator(chunk_size=CHUNK_ROWS))


def _shown(rows: models.QuerySet[Any], found: Iterable[Any]) -> Generator[Any]:
    count = 0
    try:
        for row in found:
            count += 1
            yield row
        return
    except django.db.Error:
        raise
    except Exception:
        pks = list(rows.values_list("pk", flat=True))[count:]
    whole = rows.model._base_manager.using(rows.db)
    if rows.query.select_related:
        whole.query.select_related = rows.query.select_related
    for start in range(0, len(pks), CHUNK_ROWS):
        some = pks[start : start + CHUNK_ROWS]
        by_pk = _read_some(whole, some)
        for pk in some:
            yield by_pk.get(pk)


def shown_value(mapping: EntityMapping, row: models.Model) -> bytes | None:
    """What ``represent`` shows of a row, encoded; None where it, or the encoder, raises. Database
    errors are raised.
    """
    try:
        return encode_value(mapping.represent(row))
    except django.db.Error:
        raise
    except Exception as error:
        _say(row._meta.label, row.pk, error)
        return None


def _read_some(rows: models.QuerySet[Any], pks: Sequence[Any]) -> dict[Any, Any]:
    """The rows among these that can be read, by primary key: halves are read by themselves where
    one cannot.
    """
    try:
        return {row.pk: row for row in rows.filter(pk__in=pks)}
    except django.db.Error:
        raise
    except Exception as error:
        if len(pks) == 1:
            _say(rows.model._meta.label, pks[0], error)
            return {}
    middle = len(pks) // 2
    return _read_some(rows, pks[:middle]) | _read_some(rows, pks[middle:])


def _say(label: str, pk: Any, error: Exception) -> None:
    said, now = (label, type(error).__name__), time.monotonic()
    if now - _said.get(said, -QUIET_SECONDS) >= QUIET_SECONDS:
        _said[said] = now
        logger.error(
            "The row %r of %s cannot be shown, and is left out: %s: %s",
            pk,
            label,
            type(error).__name__,
            error,
            exc_info=error,
        )
