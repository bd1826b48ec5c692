"""What the project's HEADERS function gives for each request of a stream."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from django.utils.module_loading import import_string

from durable_state.conf import get_settings
from durable_state.errors import ConfigurationError, Unavailable
from durable_state.models import Stream
from durable_state.protocol.masking import mask_likely
from durable_state.transport.sent import mask_sent

from .hung_calls import ProjectCallHangs
from .project_calls import ProjectCalls, StillRunning

__all__ = ["headers_function"]

HEADERS_SECONDS = 30.0
"""Seconds that HEADERS may take for one request, where a lease is no shorter."""


def headers_function(
    stream: Stream, calls: ProjectCalls
) -> Callable[[], Awaitable[Mapping[str, str]]] | None:
    """What a reader of the stream asks anew for each request; None, where there is no HEADERS."""
    path = get_settings().headers
    return partial(_ask, path, stream, calls) if path else None


async def _ask(path: str, stream: Stream, calls: ProjectCalls) -> Mapping[str, str]:
    """What the function at ``path`` gives.

    Raises: ConfigurationError, where it cannot be imported or gives no headers; Unavailable, where
    it fails (a token service may be away); ProjectCallHangs, where it hangs.
    """
    try:
        function = import_string(path)
    except Exception as error:
        raise ConfigurationError(
            f"HEADERS: {path!r} cannot be imported: {_without_secrets(error)}.",
            "Correct the setting.",
        ) from None

    seconds = min(HEADERS_SECONDS, get_settings().lease_seconds)
    try:
        headers = await calls.call((stream.using, stream.pk), function, stream, seconds=seconds)
    except StillRunning as hanging:
        still = ProjectCallHangs.of(path, seconds)
        still.thread = hanging.thread
        raise still from None
    except Unavailable:
        raise
    except Exception as error:
        raise Unavailable(
            f"HEADERS failed for {stream.name}: {_without_secrets(error)}.", f"Fix {path}."
        ) from None

    if isinstance(headers, Mapping) and all(
        isinstance(text, str) for pair in headers.items() for text in pair
    ):
        return headers
    raise ConfigurationError(
        f"HEADERS did not return a dict of strings for {stream.name}.", f"Fix {path}, then resume."
    )


def _without_secrets(error: Exception) -> str:
    """What happened, without what was sent before and what looks like a secret.

    The error is not raised on as a cause either, because tracebacks would show its own text.
    """
    return mask_likely(mask_sent(f"{type(error).__name__}: {error}"))
