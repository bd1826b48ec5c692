"""Answers of the database that are the same for many subscribers, asked for once.

While the policy is asked again about thousands of users, much of what each of them needs is equal:
the rows of a stream, or the user who follows several streams.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

__all__ = ["share_answer", "sharing_answers"]

SHARED_SECONDS = 1.0
"""Seconds for which an answer is shared."""

T = TypeVar("T")


class _Answers:
    def __init__(self) -> None:
        self.known: dict[Hashable, Any] = {}
        self.since = time.monotonic()


_answers: ContextVar[_Answers | None] = ContextVar("shared_answers", default=None)


@contextmanager
def sharing_answers() -> Iterator[None]:
    """Shares answers among all calls that are begun in the block, also those in threads."""
    token = _answers.set(_Answers())
    try:
        yield
    finally:
        _answers.reset(token)


def share_answer(question: Hashable, ask: Callable[[], T]) -> T:
    """The answer to a question, at most SHARED_SECONDS old; outside of such a block, a new one.

    Raises: whatever ``ask`` raises; the next one asks again.
    """
    answers = _answers.get()
    if answers is None:
        return ask()
    if time.monotonic() - answers.since > SHARED_SECONDS:
        answers.known, answers.since = {}, time.monotonic()
    known = answers.known  # Another thread may begin anew meanwhile.
    if question not in known:
        known[question] = ask()
    found: T = known[question]
    return found
