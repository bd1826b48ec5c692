"""Remembers the credentials that this process has sent, so that no text shows them.

Servers may echo headers in the bodies of refusals, and the project's code that makes headers may
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
"""How many secrets are remembered: tokens change, and a process may follow many streams."""

_lock = Lock()
_sent: OrderedDict[str, None] = OrderedDict()


def remember(secrets: Iterable[str]) -> None:
    """Keeps the secrets in memory, for ``mask_sent``."""
    with _lock:
        for secret in secrets:
            # Outside the server's own words, a short secret may be any word.
            if len(secret) >= SHORT:
                _sent[secret] = None
                _sent.move_to_end(secret)
        while len(_sent) > _KEPT:
            _sent.popitem(last=False)


def mask_sent(text: str) -> str:
    """``text`` with ``***`` in place of all secrets that this process has sent."""
    with _lock:
        secrets = list(_sent)
    return mask(text, secrets)


def mask_error(error: DurableStateError) -> None:
    """Masks the error's texts, and removes a cause whose text holds a secret."""
    error.message, error.action = mask_sent(error.message), mask_sent(error.action)
    error.args = tuple(mask_sent(each) if isinstance(each, str) else each for each in error.args)
    cause = error.__cause__
    while cause is not None:
        text = f"{cause!r} {cause}"
        if mask_sent(text) != text:
            error.__cause__, error.__suppress_context__ = None, True
            return
        cause = cause.__cause__ or cause.__context__
