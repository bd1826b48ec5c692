"""Appends to a stream, with the project's settings and headers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from durable_state.conf import get_settings
from durable_state.errors import Unavailable
from durable_state.models import Stream
from durable_state.protocol import check_url, mask_query
from durable_state.transport import append, create, open_client

from .project_calls import ProjectCalls
from .request_headers import headers_function

__all__ = ["append_once"]


def append_once(
    stream: Stream, messages: Sequence[bytes], seconds: float, *, create_missing: bool
) -> None:
    """Appends encoded messages in one atomic step, for callers that are not async.

    Nothing is sent twice. ``create_missing`` creates the stream on its server first, where it is
    missing. Raises: TransportError, ConfigurationError.
    """

    async def send() -> None:
        check_url(stream.url, get_settings().allowed_urls)
        headers = headers_function(stream, ProjectCalls())
        async with open_client() as client:
            if create_missing:
                await create(client, stream.url, headers=headers)
            await append(client, stream.url, messages, headers=headers)

    async def send_in_time() -> None:
        try:
            await asyncio.wait_for(send(), seconds)
        except TimeoutError:
            raise Unavailable(
                f"{mask_query(stream.url)} did not answer within {seconds:.0f} s.",
                "Whether the messages arrived is unknown; sending them again does no harm.",
            ) from None

    asyncio.run(send_in_time())
