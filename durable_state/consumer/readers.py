"""A reader for a stream, with the project's settings and headers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Generator, Mapping
from typing import Any

from django.utils.module_loading import import_string

from durable_state.conf import get_settings
from durable_state.errors import ConfigurationError, Stalled, Unavailable
from durable_state.models import Progress, Stream
from durable_state.protocol import START, Position, check_url
from durable_state.protocol.masking import mask_likely
from durable_state.transport import (
    Answer,
    Batch,
    BatchLimits,
    Checkpoint,
    LiveMode,
    Reader,
    Rereader,
    open_client,
    probe,
)
from durable_state.transport.sent import mask_sent

from .project_calls import ProjectCalls, StillRunning

__all__ = [
    "ask_once",
    "read_from_start",
    "request_headers",
    "stream_reader",
    "stream_rereader",
]

HEADERS_SECONDS = 30.0
"""Seconds that HEADERS may take for one request."""


def stream_reader(
    client: Any,
    stream: Stream,
    progress: Progress | None,
    *,
    live: LiveMode | None,
    calls: ProjectCalls,
    limits: BatchLimits | None = None,
    position: Position = START,
) -> Reader:
    """Reads the stream on from where ``progress`` is (it is compared with the one that was read before then), or else from ``position``.

    Without ``limits``, those of the settings hold.
    Raises: ConfigurationError, where the stream's URL is not within ALLOWED_URLS.
    """
    settings = get_settings()
    check_url(stream.url, settings.allowed_urls)
    checkpoint = None
    if progress is not None:
        position = progress.position
        checkpoint = Checkpoint.load(progress.checkpoint)
    return Reader(
        client,
        stream.url,
        position,
        live=live,
        headers=(lambda: request_headers(stream, calls)) if settings.headers else None,
        limits=limits
        or BatchLimits(settings.batch_rows, settings.batch_bytes, settings.message_bytes),
        checkpoint=checkpoint,
        stuck_seconds=settings.stuck_seconds,
    )


def stream_rereader(client: Any, stream: Stream, *, calls: ProjectCalls) -> Rereader:
    """Looks whether the stream's URL still serves what was read before. Raises: ConfigurationError, as ``stream_reader``."""
    settings = get_settings()
    check_url(stream.url, settings.allowed_urls)
    return Rereader(
        client,
        stream.url,
        headers=(lambda: request_headers(stream, calls)) if settings.headers else None,
        message_bytes=settings.message_bytes,
        stuck_seconds=settings.stuck_seconds,
    )


async def request_headers(stream: Stream, calls: ProjectCalls) -> Mapping[str, str]:
    """What the project's HEADERS function gives for the stream, asked anew for each request.

    Raises: ConfigurationError, where it cannot be imported or gives no headers; Unavailable, where
    it fails (a token service may be away); Stalled, where it hangs.
    """
    path = get_settings().headers or ""
    try:
        function = import_string(path)
    except Exception as error:
        raise ConfigurationError(
            f"HEADERS: {path!r} cannot be imported: {_without_secrets(error)}.",
            "Correct the setting.",
        ) from None
    try:
        headers = await calls.call(
            (stream.using, stream.pk), function, stream, seconds=HEADERS_SECONDS
        )
    except StillRunning:
        raise Stalled(
            f"HEADERS has given nothing for {stream.name} in {HEADERS_SECONDS:g} s.",
            f"See what {path} waits for. It is waited for again.",
            seconds=HEADERS_SECONDS,
        ) from None
    except Exception as error:
        raise Unavailable(
            f"HEADERS failed for {stream.name}: {_without_secrets(error)}.", f"Mend {path}."
        ) from None
    if isinstance(headers, Mapping) and all(
        isinstance(text, str) for pair in headers.items() for text in pair
    ):
        return headers
    raise ConfigurationError(
        f"HEADERS gave no dict of texts for {stream.name}.", f"Mend {path}, then resume."
    )


def _without_secrets(error: Exception) -> str:
    """What happened, without what was sent before and what looks like a secret.

    The error is not raised on as a cause either, because tracebacks would show its own text.
    """
    return mask_likely(mask_sent(f"{type(error).__name__}: {error}"))


def ask_once(stream: Stream, seconds: float) -> Answer:
    """What the server answers to a reader of the stream that begins, for callers that are not async.

    Raises: TransportError, ConfigurationError.
    """

    async def ask() -> Answer:
        settings = get_settings()
        check_url(stream.url, settings.allowed_urls)
        headers = (lambda: request_headers(stream, ProjectCalls())) if settings.headers else None
        async with open_client() as client:
            return await probe(client, stream.url, headers=headers, seconds=seconds)

    return asyncio.run(ask())


def read_from_start(stream: Stream) -> Generator[Batch, None, None]:
    """The whole stream, for callers that are not async; each batch is read while the caller waits for it.

    At the tail it is read on for as long as that brings more, so that a caller can catch up with a stream that grows meanwhile.
    Raises: TransportError.
    """
    with asyncio.Runner() as runner:
        client = open_client()
        calls, position, brought = ProjectCalls(), START, True
        try:
            while brought:
                brought = False
                reader = stream_reader(
                    client, stream, None, live=None, calls=calls, position=position
                )
                batches = reader.batches()
                try:
                    while (batch := runner.run(_next(batches))) is not None:
                        position, brought = batch.position, brought or bool(batch.messages)
                        yield batch
                finally:
                    with contextlib.suppress(RuntimeError):
                        runner.run(batches.aclose())
        finally:
            runner.run(client.aclose())


async def _next(batches: AsyncIterator[Batch]) -> Batch | None:
    return await anext(batches, None)
