"""Readers of a stream, with the project's settings and headers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Generator
from typing import Any

from durable_state.conf import get_settings
from durable_state.errors import Unavailable
from durable_state.models import Progress, Stream
from durable_state.protocol import START, Position, check_url
from durable_state.transport import (
    Answer,
    Batch,
    BatchLimits,
    Checkpoint,
    Following,
    LiveMode,
    Reader,
    Rereader,
    StreamHead,
    delay,
    head,
    open_client,
    probe,
)

from .project_calls import ProjectCalls
from .request_headers import headers_function

__all__ = [
    "ask_head",
    "ask_once",
    "read_from_start",
    "stream_reader",
    "stream_rereader",
]

FAILURES = 4
"""How many failures in a row end the reading of a whole stream for a caller that waits for it."""


def stream_reader(
    client: Any,
    stream: Stream,
    progress: Progress | None,
    *,
    live: LiveMode | None,
    calls: ProjectCalls,
    limits: BatchLimits | None = None,
    position: Position = START,
    following: Following | None = None,
) -> Reader:
    """Reads on from the position of ``progress``, or else from ``position``.

    With ``progress``, what was read before is compared first. Without ``limits``, those of the
    settings apply. ``following`` remembers how the tail was followed before. Raises:
    ConfigurationError, if the stream's URL is not within ALLOWED_URLS.
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
        headers=headers_function(stream, calls),
        limits=limits
        or BatchLimits(settings.batch_rows, settings.batch_bytes, settings.message_bytes),
        checkpoint=checkpoint,
        silence=stream.heartbeat_seconds,
        stuck_seconds=settings.stuck_seconds,
        following=following,
    )


def stream_rereader(client: Any, stream: Stream, *, calls: ProjectCalls) -> Rereader:
    """Checks whether the stream's URL still serves what was read before.

    Raises: ConfigurationError, as ``stream_reader``.
    """
    settings = get_settings()
    check_url(stream.url, settings.allowed_urls)
    return Rereader(
        client,
        stream.url,
        headers=headers_function(stream, calls),
        message_bytes=settings.message_bytes,
        stuck_seconds=settings.stuck_seconds,
    )


async def ask_head(client: Any, stream: Stream, *, calls: ProjectCalls) -> StreamHead:
    """What the server says about the stream, without its messages.

    Raises: TransportError, ConfigurationError.
    """
    check_url(stream.url, get_settings().allowed_urls)
    return await head(client, stream.url, headers=headers_function(stream, calls))


def ask_once(stream: Stream, seconds: float) -> Answer:
    """What the server answers to a new reader; for callers that are not async.

    Raises: TransportError, ConfigurationError.
    """

    async def ask() -> Answer:
        settings = get_settings()
        check_url(stream.url, settings.allowed_urls)
        headers = headers_function(stream, ProjectCalls())
        async with open_client() as client:
            return await probe(client, stream.url, headers=headers, seconds=seconds)

    return asyncio.run(ask())


def read_from_start(stream: Stream) -> Generator[Batch, None, None]:
    """The whole stream, for callers that are not async; each batch is read while the caller waits.

    At the tail, reading continues for as long as that brings more, so that a caller can catch up
    with a stream that grows meanwhile. After a failure it continues where it was, unless
    :data:`FAILURES` in a row bring nothing. Raises: TransportError.
    """
    with asyncio.Runner() as runner:
        client, calls = open_client(), ProjectCalls()
        position, grew, failures = START, True, 0
        try:
            while grew or failures:
                grew = False
                reader = stream_reader(
                    client, stream, None, live=None, calls=calls, position=position
                )
                try:
                    with contextlib.closing(_batches(runner, reader)) as batches:
                        for batch in batches:
                            position, failures = batch.position, 0
                            grew = grew or bool(batch.messages)
                            yield batch
                    failures = 0
                except Unavailable as error:
                    failures += 1
                    if failures == FAILURES:
                        raise Unavailable(
                            error.message, "Try again later.", error.status
                        ) from error
                    runner.run(asyncio.sleep(delay(failures)))
        finally:
            runner.run(client.aclose())


def _batches(runner: asyncio.Runner, reader: Reader) -> Generator[Batch, None, None]:
    """The batches of one reader, each read while the caller waits for it."""
    batches = reader.batches()

    async def read_next() -> Batch | None:
        return await anext(batches, None)

    try:
        while (batch := runner.run(read_next())) is not None:
            yield batch
    finally:
        with contextlib.suppress(RuntimeError):
            runner.run(batches.aclose())
