"""Remembers the credentials that this process has sent, so that no text shows them.

Servers echo our headers in the bodies of refusals, and the project's code that makes headers may
quote an earlier one in its errors.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from threading import Lock

from durable_state.errors import DurableStateError
from durable_state.protocol.masking import SHORT, mask

__all__ = ["mask_error", "mask_sent", "remember"]

_KEPT = 1000
"""Secrets that are remembered, the newest; tokens change, and a process may tail many streams."""

_lock = Lock()
_sent: OrderedDict[str, None] = OrderedDict()


def remember(secrets: Iterable[str]) -> None:
    """Keeps them in memory, for ``mask_sent``."""
    with _lock:
        for secret in secrets:
            # A short one is a word like any other wherever the server did not say it.
            if len(secret) >= SHORT:
                _sent[secret] = None
                _sent.move_to_end(secret)
        while len(_sent) > _KEPT:
            _sent.popitem(last=False)


def mask_sent(text: str) -> str:
    """``text`` with ``***`` for all that this process has sent."""
    with _lock:
        secrets = list(_sent)
    return mask(text, secrets)


def mask_error(error: DurableStateError) -> None:
    """Masks the error's texts, and cuts off a cause whose text holds what was sent."""
    error.message, error.action = mask_sent(error.message), mask_sent(error.action)
    error.args = tuple(mask_sent(each) if isinstance(each, str) else each for each in error.args)
    cause = error.__cause__
    while cause is not None:
        text = f"{cause!r} {cause}"
        if mask_sent(text) != text:
            error.__cause__, error.__suppress_context__ = None, True
            return
        cause = cause.__cause__ or cause.__context__
