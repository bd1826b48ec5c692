"""Shows the app's log messages in the terminal, if the project has not configured where they go."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["show_notices"]

_ROOT = logging.getLogger("durable_state")


@contextmanager
def show_notices(show: Callable[[str, int], None]) -> Iterator[None]:
    """Passes warnings and errors to ``show``, with their level, while the block runs.

    If the project's LOGGING handles them, they go only there.
    """
    if _ROOT.hasHandlers():
        yield
        return
    handler = _Notices(show)
    _ROOT.addHandler(handler)
    try:
        yield
    finally:
        _ROOT.removeHandler(handler)


class _Notices(logging.Handler):
    def __init__(self, show: Callable[[str, int], None]) -> None:
        super().__init__(logging.WARNING)
        self._show = show

    def emit(self, record: logging.LogRecord) -> None:
        if getattr(record, "is_outcome", False):
            return  # the verb itself prints how it ended
        try:
            text = record.getMessage()
            if record.exc_info and record.exc_info[1] is not None:
                text = f"{text} {type(record.exc_info[1]).__name__}"
            self._show(text, record.levelno)
        except Exception:
            self.handleError(record)
