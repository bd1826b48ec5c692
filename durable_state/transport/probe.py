"""Asks a server once what it serves at a URL."""

from __future__ import annotations

import asyncio

import httpx

from durable_state.errors import Unavailable
from durable_state.protocol import mask_query

from .answer import Answer
from .client import AskHeaders, exchange, said
from .request import Mode, Request

__all__ = ["probe"]


async def probe(
    client: httpx.AsyncClient, url: str, *, headers: AskHeaders | None = None, seconds: float
) -> Answer:
    """The head of the server's answer to a reader that begins; the body is not read.

    Takes ``seconds`` at most, however slowly the server answers.
    Raises: TransportError, ConfigurationError, as a reader would.
    """
    request = Request.read(url, "-1", Mode.CATCH_UP, silence=seconds)
    try:
        async with (
            asyncio.timeout(seconds),
            exchange(
                client,
                "GET",
                request.url,
                request.headers,
                headers=headers,
                stream=url,
                silence=seconds,
            ) as response,
        ):
            detail = await said(response)
            return Answer.of(response.status_code, response.headers, url, Mode.CATCH_UP, detail)
    except TimeoutError as error:
        raise Unavailable(
            f"{mask_query(url)} did not answer within {seconds:g} s.",
            "Retrying automatically.",
        ) from error
