"""Lets the public conformance suite write into Django's streams and read what it wrote.

A ``PUT`` or ``POST`` becomes a commit of the real materializer: each piece of the stream is an
entity of its own, keyed by its position. A ``GET`` or ``HEAD`` goes to Django unchanged. Only the
items of the answer are turned back into the pieces: status, offsets and headers stay Django's.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from dataclasses import dataclass
from typing import Any

from asgiref.sync import sync_to_async
from django.core.asgi import get_asgi_application

from durable_state.models import Status, Stream
from durable_state.testing import apply
from tests.wire import change

__all__ = ["Bridge"]

Headers = list[tuple[bytes, bytes]]


@dataclass
class Written:
    """One stream of the suite."""

    name: str
    content_type: str
    pieces: int = 0
    closed: bool = False

    @property
    def is_json(self) -> bool:
        """Whether its pieces are JSON values."""
        return self.content_type.lower().startswith("application/json")

    @property
    def is_text(self) -> bool:
        """Whether its pieces are sent as text in events."""
        return self.content_type.lower().startswith("text/")


class Bridge:
    """The ASGI application."""

    def __init__(self, credentials: bytes) -> None:
        self._django: Any = get_asgi_application()
        self._credentials = credentials
        self._streams: dict[str, Written] = {}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serves one request."""
        path, method = scope["path"], scope["method"]
        found = self._streams.get(path)
        if method in ("GET", "HEAD"):
            await self._read(scope, receive, send, found)
            return

        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        status = await sync_to_async(self._write)(path, method, headers, body)
        answered: Headers = []
        if (written := self._streams.get(path)) is not None:
            answered.append((b"content-type", written.content_type.encode()))
            answered += await self._tail(scope, written)
        await send({"type": "http.response.start", "status": status, "headers": answered})
        await send({"type": "http.response.body"})

    def _write(self, path: str, method: str, headers: dict[str, str], body: bytes) -> int:
        found = self._streams.get(path)
        closes = headers.get("stream-closed") == "true"
        if method == "DELETE":
            self._streams.pop(path, None)
            return 404 if found is None else Stream.objects.filter(name=found.name).delete() and 204
        if method == "PUT":
            if found is not None:
                return 200
            name = hashlib.md5(path.encode(), usedforsecurity=False).hexdigest()
            Stream.objects.create(name=name, url="http://127.0.0.1:1/x")
            content_type = headers.get("content-type", "application/octet-stream")
            found = self._streams[path] = Written(name, content_type)
            self._append(found, body, closes)
            return 201
        if found is None:
            return 404
        if found.closed and body:
            return 409
        if not body and not closes:
            return 400
        return self._append(found, body, closes)

    def _append(self, written: Written, body: bytes, closes: bool) -> int:
        pieces: list[Any] = [base64.b64encode(body).decode()] if body else []
        if written.is_json and body:
            try:
                parsed = json.loads(body)
            except ValueError:
                return 400
            pieces = parsed if isinstance(parsed, list) else [parsed]
        messages = []
        for piece in pieces:
            written.pieces += 1
            messages.append(change("setting", f"{written.pieces:08}", value={"piece": piece}))
        if messages:
            apply(written.name, messages)
        if closes:
            written.closed = True
            Stream.objects.filter(name=written.name).update(status=Status.CLOSED)
        return 204

    async def _tail(self, scope: Any, written: Written) -> Headers:
        headers: Headers = []

        async def send(message: Any) -> None:
            headers.extend(message.get("headers", ()))

        messages = [{"type": "http.request"}]

        async def receive() -> Any:
            return messages.pop() if messages else await asyncio.Event().wait()

        asked = self._asked(scope | {"method": "HEAD", "query_string": b""}, written)
        await self._django(asked, receive, send)
        return [
            each for each in headers if each[0].lower() in (b"stream-next-offset", b"stream-closed")
        ]

    def _asked(self, scope: Any, written: Written | None) -> Any:
        """The request for Django."""
        name = "none" if written is None else written.name
        path = f"/api/state/streams/{name}/feed/"
        headers = [*scope["headers"], (b"authorization", b"Basic " + self._credentials)]
        return scope | {"path": path, "raw_path": path.encode(), "headers": headers}

    async def _read(self, scope: Any, receive: Any, send: Any, written: Written | None) -> None:
        is_event = False
        status = 0
        pending = b""

        async def turned(message: Any) -> None:
            nonlocal is_event, pending, status
            if message["type"] == "http.response.start":
                status = message["status"]
                named = dict(message["headers"])
                is_event = named.get(b"Content-Type", b"").startswith(b"text/event-stream")
                await send(message | {"headers": self._headers(message, written, is_event)})
                return
            body, is_last = message.get("body", b""), not message.get("more_body")
            if written is not None and status == 200:
                pending += body
                if is_event:
                    *events, pending = pending.split(b"\n\n")
                    body = b"".join(_event(event, written) for event in events)
                else:
                    body, pending = (_pieces(pending, written), b"") if is_last else (b"", pending)
            await send(message | {"body": body})

        await self._django(self._asked(scope, written), receive, turned)

    def _headers(self, message: Any, written: Written | None, is_event: bool) -> Headers:
        headers: Headers = list(message["headers"])
        if written is None or message["status"] != 200:
            return headers
        left = (b"content-length",) if is_event else (b"content-length", b"content-type")
        headers = [each for each in headers if each[0].lower() not in left]
        if not is_event:
            headers.append((b"content-type", written.content_type.encode()))
        elif not written.is_json and not written.is_text:
            headers.append((b"stream-sse-data-encoding", b"base64"))
        return headers


def _pieces(body: bytes, written: Written) -> bytes:
    if not body:
        return b""
    pieces = [item["value"]["piece"] for item in json.loads(body)]
    if written.is_json:
        return json.dumps(pieces).encode()
    return b"".join(map(base64.b64decode, pieces))


def _event(event: bytes, written: Written) -> bytes:
    name, _, data = event.partition(b"\n")
    if name != b"event: data":
        return event + b"\n\n"
    text = _pieces(data.removeprefix(b"data:"), written)
    if not written.is_json and not written.is_text:
        text = base64.b64encode(text)
    lines = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    return b"event: data\n" + b"".join(b"data:" + line + b"\n" for line in lines) + b"\n"
