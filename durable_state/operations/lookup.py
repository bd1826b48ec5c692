"""Finding a stream by its name."""

from __future__ import annotations

from difflib import get_close_matches

from durable_state.errors import OperationRefused
from durable_state.models import Stream

__all__ = ["find_stream"]


def find_stream(name: str, using: str = "default") -> Stream:
    """The stream of that name.

    Raises: OperationRefused, naming the ones that were perhaps meant.
    """
    streams = Stream.objects.using(using)
    stream = streams.filter(name=name).first()
    if stream is not None:
        return stream
    names = list(streams.values_list("name", flat=True)[:1000])
    close = get_close_matches(name, names, n=3)
    if close:
        action = f"Did you mean {' or '.join(close)}?"
    elif names:
        action = f"There are: {', '.join(names[:10])}{', ...' if len(names) > 10 else ''}."
    else:
        action = "There are none yet; add one: durable_state add NAME URL."
    raise OperationRefused(f"There is no stream {name!r} in the database {using!r}.", action)
