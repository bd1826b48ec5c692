"""Reads the head of an answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from durable_state.errors import NotJson, ProtocolViolation
from durable_state.protocol import mask_query

from .body import check_codings
from .refusals import is_true, refusal, said_once
from .request import Mode

__all__ = ["Answer", "check_offset", "usable_cursor"]

_LONGEST_OFFSET = 4096
"""The longest offset, in characters. Servers should stay below 256, and most take URLs of 8 KB."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The head of a successful read. With SSE, offsets and flags come later, in control events.

    ``next_offset`` is where the next read begins, ``up_to_date`` whether nothing more is there yet,
    ``closed`` whether the server calls the stream closed, ``empty`` whether there is no body (204).
    """

    next_offset: str
    up_to_date: bool
    closed: bool
    cursor: str | None
    empty: bool

    @classmethod
    def of(
        cls, status: int, headers: Mapping[str, str], url: str, mode: Mode, detail: str = ""
    ) -> Answer:
        """Reads status and headers (their names in lower case).

        Raises: TransportError for anything but a stream of JSON messages.
        """
        if status not in (200, 204):
            raise refusal(status, headers, url, detail)
        if status == 200:
            _check_content_type(headers, url, mode)
            check_codings(headers, url, status)
        next_offset = said_once(headers, "stream-next-offset")
        if not next_offset and (mode is not Mode.SSE or status == 204):
            raise ProtocolViolation(
                f"{mask_query(url)} answered {status} without Stream-Next-Offset.",
                "Retrying; if this persists, the URL is not a durable stream, "
                "or something in between drops the header.",
                status,
            )
        if next_offset:
            check_offset(next_offset, url)
        closed = is_true(headers, "stream-closed")
        up_to_date = closed or status == 204 or is_true(headers, "stream-up-to-date")
        cursor = usable_cursor(said_once(headers, "stream-cursor"))
        return cls(next_offset, up_to_date, closed, cursor, status == 204)


def usable_cursor(cursor: str | None) -> str | None:
    """The cursor, unless it is too long for a URL; it only helps caches, and may be left out."""
    return cursor if cursor and len(cursor) <= _LONGEST_OFFSET else None


def _check_content_type(headers: Mapping[str, str], url: str, mode: Mode) -> None:
    said = said_once(headers, "content-type")
    found = said.partition(";")[0].strip().lower()[:100]
    encoded = headers.get("stream-sse-data-encoding", "")
    if mode is Mode.SSE:
        if found != "text/event-stream":
            raise NotJson(
                f"{mask_query(url)} answers a request for Server-Sent Events with "
                f"{found or 'no content type'}.",
                "Set the stream's live mode to long-poll.",
                200,
            )
        if not encoded:
            return
        found = f"events encoded as {encoded[:40]}"
    if found in ("text/html", "application/xhtml+xml"):
        raise NotJson(
            f"{mask_query(url)} is a web page ({found}), not a durable stream.",
            "Check the URL; a sign-in page in between looks like this too.",
            200,
        )
    if found != "application/json":
        raise NotJson(
            f"{mask_query(url)} is a stream of {found or 'no content type'}, "
            "not of application/json.",
            "Check the URL; only a stream created with content type application/json holds state "
            "messages.",
            200,
        )


def check_offset(offset: str, url: str) -> None:
    """Refuses what cannot be an offset, or does not always mean the same place.

    Nothing else is checked, because offsets are opaque.
    Raises: ProtocolViolation. Spec: PROTOCOL.md 8.
    """
    if len(offset) > _LONGEST_OFFSET:
        fault = f"an offset of {len(offset)} characters"
    elif offset in ("-1", "now"):
        fault = f"the reserved offset {offset}"
    elif not offset:
        fault = "an empty offset"
    elif not offset.isprintable():  # such as NUL, which not every database stores
        fault = f"the offset {_shown(offset)}, which holds control characters"
    elif "," in offset:  # HTTP joins the values of a repeated header
        fault = f"several offsets at once ({_shown(offset)})"
    else:
        return
    raise ProtocolViolation(
        f"{mask_query(url)} gave {fault}.",
        "Retrying; if this persists, tell the server's operator.",
    )


def _shown(offset: str) -> str:
    """The beginning of an offset, for error messages."""
    return ascii(offset[:60])
