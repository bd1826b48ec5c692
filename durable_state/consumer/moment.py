"""Reads a stream's tables as they are at one moment, while its consumer continues."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from durable_state.databases.moment import one_moment
from durable_state.models import Stream

__all__ = ["at_one_moment"]


@contextmanager
def at_one_moment(stream: Stream) -> Iterator[Stream]:
    """The stream's row, and through its alias (``using``) every table, as they are now.

    Raises: Stream.DoesNotExist.
    """
    using = stream.using
    with one_moment(using) as alias:
        rows = Stream.objects.using(alias)
        if alias == using:  # otherwise nothing keeps the consumer out meanwhile
            rows = rows.select_for_update()
        yield rows.get(pk=stream.pk)
