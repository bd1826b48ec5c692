"""Django's messages, which a page shows once: a request for parts must not use up those that the
page shows elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.http import HttpRequest

from .part import Part

__all__ = ["keep_messages", "noticing_messages"]


@contextmanager
def noticing_messages(request: HttpRequest, part: Part) -> Iterator[None]:
    """Notes in ``part`` whether what is rendered in the block shows messages."""
    storage: Any = getattr(request, "_messages", None)
    if storage is None:
        yield
        return
    before, storage.used = storage.used, False
    try:
        yield
    finally:
        part.shows_messages = storage.used
        storage.used = before or storage.used


def keep_messages(request: HttpRequest) -> None:
    """Has the messages shown again by the next page."""
    storage: Any = getattr(request, "_messages", None)
    if storage is not None:
        storage.used = False
