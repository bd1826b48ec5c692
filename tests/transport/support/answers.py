"""A server's answers, byte for byte."""

from __future__ import annotations

from collections.abc import Callable

from durable_state.transport import Batch
from tests.servers.misbehaving import Reply

__all__ = ["EVENTS", "JSON", "control", "data", "empty", "events", "keep"]

JSON = {"Content-Type": "application/json"}


EVENTS = {"Content-Type": "text/event-stream"}


def empty(offset: str, *flags: str) -> Reply:
    """An answer without messages."""
    return Reply(
        200, JSON | {"Stream-Next-Offset": offset} | dict.fromkeys(flags, "true"), (b"[]",)
    )


def events(*parts: bytes, **how) -> Reply:
    """An event stream."""
    return Reply(200, EVENTS, parts, framing="chunked", **how)


def data(*items: bytes) -> bytes:
    """A data event."""
    return b"event: data\ndata: [%b]\n\n" % b",".join(items)


def control(offset: str, more: str = ', "upToDate": true, "streamCursor": "c"') -> bytes:
    """A control event."""
    return f'event: control\ndata: {{"streamNextOffset": "{offset}"{more}}}\n\n'.encode()


def keep(found: list[Batch]) -> Callable[[list[Batch]], bool]:
    """An `until` that is never satisfied, and keeps what was read before an error."""

    def until(batches: list[Batch]) -> bool:
        found.append(batches[-1])
        return False

    return until
