"""Reads the body of an answer in bounded pieces, each with a limit to the wait for it.

Why: decision 30.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, suppress

import httpx

from durable_state.errors import AnswerRefused
from durable_state.protocol import mask_query

__all__ = ["ACCEPTED_CODINGS", "Body", "check_codings", "open_body", "read_beginning"]

ACCEPTED_CODINGS = "gzip, deflate"
"""The codings that requests accept. Others would need a decoder with bounded output."""

_PIECE = 64 * 1024


def check_codings(headers: Mapping[str, str], url: str, status: int) -> None:
    """Raises: AnswerRefused, if the body is coded in a way that was not accepted, or twice."""
    codings = _codings(headers)
    if not _can_decode(codings):
        raise AnswerRefused(
            f"{mask_query(url)} answers with the content coding {', '.join(codings)[:100]}.",
            "At most one coding is decoded, gzip or deflate: correct the server, or what lies "
            "in between, then resume.",
            status,
        )


class Body:
    """The body of one answer as it arrives. Use :func:`open_body`.

    Holds at most one piece that is read ahead, and what arrives with it.
    """

    def __init__(self, response: httpx.Response) -> None:
        self._response = response
        self._decoder = _Decoder(_codings(response.headers))
        self._pieces: Iterator[bytes] = iter(())
        self._arrived: list[bytes] = []
        self._held = 0
        self._ended = False
        self._error: Exception | None = None
        self._has_come = asyncio.Event()
        self._has_room = asyncio.Event()

    async def read(self, seconds: float) -> bytes | None:
        """The next piece: empty if none came in ``seconds``, None at the end.

        Other tasks may run between two pieces, however much a few bytes decode to.
        Raises: httpx.HTTPError.
        """
        has_waited = False
        while (piece := next(self._pieces, None)) is None:
            if not self._has_come.is_set():
                has_waited = True
                try:
                    async with asyncio.timeout(seconds):
                        await self._has_come.wait()
                except TimeoutError:
                    return b""
            if not self._arrived:
                self._finish()
                return None
            self._pieces = self._decoder.decode(self._take_arrived())

        if not has_waited:
            await asyncio.sleep(0)
        return piece

    async def fill(self) -> None:
        """Reads what arrives, one piece ahead, until the end or an error, which is kept for
        ``read``.

        Small chunks that arrive together, like those of an event, become one piece.
        """
        try:
            async for data in self._response.aiter_raw():
                self._arrived.append(data)
                self._held += len(data)
                self._has_come.set()
                if self._held >= _PIECE:
                    self._has_room.clear()
                    await self._has_room.wait()
        except Exception as error:
            self._error = error
        self._ended = True
        self._has_come.set()

    def _take_arrived(self) -> bytes:
        data = b"".join(self._arrived)
        self._arrived.clear()
        self._held = 0
        self._has_room.set()
        if not self._ended:
            self._has_come.clear()
        return data

    def _finish(self) -> None:
        """The end was reached. Raises: what reading raised; httpx.HTTPError, where it is cut."""
        if self._error is not None:
            raise self._error
        self._decoder.finish()


@asynccontextmanager
async def open_body(response: httpx.Response) -> AsyncIterator[Body]:
    """Reads the body in a task of its own, so that a wait for it can end before anything comes."""
    body = Body(response)
    filling = asyncio.create_task(body.fill())
    try:
        yield body
    finally:
        filling.cancel()
        await asyncio.gather(filling, return_exceptions=True)


async def read_beginning(response: httpx.Response, most: int, seconds: float) -> bytes:
    """The first bytes of a body that come in ``seconds``; empty if its coding is unknown."""
    text = b""
    if not _can_decode(_codings(response.headers)):
        return text
    with suppress(TimeoutError, httpx.HTTPError):
        async with asyncio.timeout(seconds), open_body(response) as body:
            while len(text) < most and (piece := await body.read(seconds)):
                text += piece
    return text[:most]


def _codings(headers: Mapping[str, str]) -> list[str]:
    named = headers.get("content-encoding", "").lower().split(",")
    return [coding for each in named if (coding := each.strip()) not in ("", "identity")]


def _can_decode(codings: list[str]) -> bool:
    return not codings or (len(codings) == 1 and codings[0] in _WINDOW_BITS)


_WINDOW_BITS = {
    "gzip": zlib.MAX_WBITS | 16,
    "x-gzip": zlib.MAX_WBITS | 16,
    "deflate": zlib.MAX_WBITS,
}
_GZIP_BITS = zlib.MAX_WBITS | 16


class _Decoder:
    """Decodes one content coding, or none. A body may be several gzip members in a row."""

    def __init__(self, codings: list[str]) -> None:
        self._coding = codings[0] if codings else ""
        self._bits = _WINDOW_BITS.get(self._coding)
        self._inflating: zlib._Decompress | None = None
        self._ended = False
        self._head = b""

    def decode(self, data: bytes) -> Iterator[bytes]:
        """Takes the next bytes; yields what they decode to. Raises: httpx.DecodingError."""
        if self._bits is None:
            for start in range(0, len(data), _PIECE):
                yield data[start : start + _PIECE]
            return
        more = False  # whether a piece was full, so that zlib may hold some of what it was given
        while data or more:
            if self._inflating is None:
                data = self._begin(data)
                if self._inflating is None:
                    return
            try:
                piece = self._inflating.decompress(data, _PIECE)
            except zlib.error as error:
                raise httpx.DecodingError(f"it is not valid {self._coding}: {error}") from error
            if piece:
                yield piece
            more = len(piece) == _PIECE
            if self._inflating.eof:
                data, more = self._inflating.unused_data, False
                self._inflating, self._ended = None, True
            else:
                data = self._inflating.unconsumed_tail

    def finish(self) -> None:
        """No more bytes will come. Raises: httpx.RemoteProtocolError, where the coding is cut."""
        if self._inflating is not None or self._head:
            raise httpx.RemoteProtocolError(f"its {self._coding} is cut")

    def _begin(self, data: bytes) -> bytes:
        """Begins a member; returns the bytes to decode, or none if more are needed to begin."""
        if self._ended:
            data = data.lstrip(b"\0")  # padding, as archives have it
            if not data:
                return b""
            if self._bits != _GZIP_BITS:
                raise httpx.DecodingError(f"there are bytes after the end of its {self._coding}")
            self._inflating = zlib.decompressobj(_GZIP_BITS)
            return data
        data = self._head + data
        if self._bits != _GZIP_BITS and len(data) < 2:
            self._head = data
            return b""
        self._head = b""
        assert self._bits is not None
        raw = self._bits != _GZIP_BITS and not _has_zlib_header(data)
        # Some servers send the bare algorithm as `deflate`, others, correctly, zlib's format.
        self._inflating = zlib.decompressobj(-zlib.MAX_WBITS if raw else self._bits)
        return data


def _has_zlib_header(data: bytes) -> bool:
    """Whether the bytes begin zlib's format. Spec: RFC 1950, 2.2."""
    return data[0] & 0x0F == 8 and (data[0] << 8 | data[1]) % 31 == 0
