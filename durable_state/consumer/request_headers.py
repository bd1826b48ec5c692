"""Calls the project's HEADERS function for each request of a stream."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from django.utils.module_loading import import_string

from durable_state.conf import get_settings
from durable_state.errors import ConfigurationError, Unavailable
from durable_state.models import Stream
from durable_state.protocol.masking import mask_likely
from durable_state.transport.sent_secrets import mask_sent

from .hung_calls import ProjectCallHangs
from .project_calls import ProjectCalls, StillRunning

__all__ = ["headers_function"]

HEADERS_SECONDS = 30.0
"""Seconds that HEADERS may take for one request, unless the lease is shorter."""


def headers_function(
    stream: Stream, calls: ProjectCalls
) -> Callable[[], Awaitable[Mapping[str, str]]] | None:
    """What a reader of the stream calls for each request; None without HEADERS."""
    path = get_settings().headers
    return partial(_ask, path, stream, calls) if path else None


async def _ask(path: str, stream: Stream, calls: ProjectCalls) -> Mapping[str, str]:
    """Calls the function at ``path``.

    Raises: ConfigurationError, if it cannot be imported or returns no headers; Unavailable, if it
    fails (a token service may be down); ProjectCallHangs, if it hangs.
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
    """Describes the error, without anything that was sent before or that looks like a secret.

    For the same reason, the error is never chained as a cause: tracebacks would show its text.
    """
    return mask_likely(mask_sent(f"{type(error).__name__}: {error}"))
