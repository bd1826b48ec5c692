"""Creates, appends to, closes, describes and deletes streams of JSON messages.

Nothing here is retried.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import httpx

from durable_state.errors import ProtocolViolation
from durable_state.protocol import mask_query

from .client import AskHeaders, exchange, said
from .refusals import is_true, refusal

__all__ = ["StreamHead", "append", "close", "create", "delete", "head"]


@dataclass(frozen=True, slots=True)
class StreamHead:
    """What a server says about a stream, apart from its messages.

    ``offset`` is the tail, ``ttl`` is in seconds. Spec: PROTOCOL.md 5.5.
    """

    offset: str
    closed: bool
    content_type: str
    ttl: int | None = None
    expires_at: str | None = None


async def create(
    client: httpx.AsyncClient,
    url: str,
    *,
    headers: AskHeaders | None = None,
    content_type: str = "application/json",
    closed: bool = False,
    ttl: int | None = None,
) -> bool:
    """Makes sure that the stream exists; True if it did not before.

    ``ttl`` is in seconds without a read or write.
    Raises: StreamConflict, if it exists with another configuration. Spec: PROTOCOL.md 5.1.
    """
    own = {"content-type": content_type}
    if closed:
        own["stream-closed"] = "true"
    if ttl is not None:
        own["stream-ttl"] = str(ttl)
    status, _ = await _send(client, "PUT", url, own, headers, hoped=(200, 201))
    return status == 201


async def append(
    client: httpx.AsyncClient,
    url: str,
    messages: Sequence[bytes],
    *,
    headers: AskHeaders | None = None,
    close: bool = False,
    seq: str | None = None,
) -> str:
    """Appends encoded messages in one atomic step, and returns the offset after them; with
    ``close``, they are the last.

    ``seq`` must be greater, byte for byte, than that of the previous append.
    Raises: StreamClosed, StreamConflict for a ``seq`` that is not new, ValueError for no messages.
    Spec: PROTOCOL.md 5.2, 9.1.2.
    """
    if not messages:
        raise ValueError(
            "There is nothing to append; close() closes a stream without a last message."
        )
    own = {"content-type": "application/json"}
    if close:
        own["stream-closed"] = "true"
    if seq is not None:
        own["stream-seq"] = seq
    # Always an array: servers remove exactly one level, so a message that is itself an array stays
    # one.
    _, answer = await _send(
        client, "POST", url, own, headers, hoped=(200, 204), content=b"[%b]" % b",".join(messages)
    )
    return _offset(answer, url)


async def close(client: httpx.AsyncClient, url: str, *, headers: AskHeaders | None = None) -> str:
    """Closes the stream for good, and returns its last offset; a closed one stays as it is.

    Spec: PROTOCOL.md 5.3.
    """
    _, answer = await _send(
        client, "POST", url, {"stream-closed": "true"}, headers, hoped=(200, 204)
    )
    return _offset(answer, url)


async def head(
    client: httpx.AsyncClient, url: str, *, headers: AskHeaders | None = None
) -> StreamHead:
    """Describes the stream as it is now. Raises: StreamNotFound, StreamGone."""
    _, answer = await _send(client, "HEAD", url, {}, headers, hoped=(200,))
    ttl = answer.get("stream-ttl", "")
    return StreamHead(
        _offset(answer, url),
        is_true(answer, "stream-closed"),
        answer.get("content-type", ""),
        int(ttl) if re.fullmatch(r"[0-9]{1,20}", ttl) else None,
        answer.get("stream-expires-at"),
    )


async def delete(client: httpx.AsyncClient, url: str, *, headers: AskHeaders | None = None) -> None:
    """Deletes the stream and its messages. Raises: StreamNotFound. Spec: PROTOCOL.md 5.4."""
    await _send(client, "DELETE", url, {}, headers, hoped=(200, 204))


async def _send(
    client: httpx.AsyncClient,
    method: str,
    url: str,
    own: Mapping[str, str],
    headers: AskHeaders | None,
    *,
    hoped: tuple[int, ...],
    content: bytes | None = None,
) -> tuple[int, Mapping[str, str]]:
    async with exchange(client, method, url, own, headers=headers, content=content) as response:
        if response.status_code not in hoped:
            raise refusal(response.status_code, response.headers, url, await said(response))
        return response.status_code, response.headers


def _offset(answer: Mapping[str, str], url: str) -> str:
    if offset := answer.get("stream-next-offset"):
        return offset
    raise ProtocolViolation(
        f"{mask_query(url)} answered without Stream-Next-Offset.",
        "Check that the URL is a durable stream.",
    )
