"""Answers in the protocol's terms: headers, bodies and events. Spec: PROTOCOL.md 5.6 to 5.8, 10."""

from __future__ import annotations

import hashlib
import random
import time
from typing import Any

import msgspec
from django.http import HttpResponse
from django.utils.cache import patch_vary_headers
from django.utils.http import parse_etags

from .reading import Answer

__all__ = ["events", "next_cursor", "nothing_new", "plain", "secure"]

CURSOR_EPOCH = 1_728_432_000
"""2024-10-09, in seconds since 1970."""
CURSOR_SECONDS = 20


def next_cursor(given: str) -> str:
    """The number of the current time interval; beyond ``given``, so that no cache repeats it."""
    now = int(time.time() - CURSOR_EPOCH) // CURSOR_SECONDS
    if not (given.isascii() and given.isdigit() and len(given) <= 15) or int(given) < now:
        return str(now)
    return str(int(given) + max(1, random.randint(1, 3600) // CURSOR_SECONDS))  # noqa: S311


def plain(
    answer: Answer, *, identity: str = "", given_etags: str = "", cursor: str | None = None
) -> HttpResponse:
    """The answer as JSON, or 304 if the client already has it.

    Without an ``identity`` it has no ETag. ``cursor`` is for live requests.
    """
    body = _array(answer).encode()
    response = HttpResponse(body, content_type="application/json")
    _tell(response, answer, cursor)
    # Permissions can change at any moment, so every request is checked.
    response["Cache-Control"] = "private, no-cache" if identity else "no-store"
    if identity:
        parts = [identity.encode(), str(answer.next).encode(), body]
        parts += [f"{answer.up_to_date}{answer.closed}".encode()]
        digest = hashlib.blake2b(b"\0".join(parts), digest_size=16).hexdigest()
        response["ETag"] = f'"{digest}{":c" if answer.closed else ""}"'
        given = {each.removeprefix("W/") for each in parse_etags(given_etags)}
        if cursor is None and response["ETag"] in given:
            response.status_code, response.content = 304, b""
            del response["Content-Type"]
    return response


def nothing_new(answer: Answer, cursor: str) -> HttpResponse:
    """204: a live request ended without news."""
    response = HttpResponse(status=204)
    del response["Content-Type"]
    _tell(response, answer, cursor)
    response["Cache-Control"] = "no-store"
    return response


def events(answer: Answer, cursor: str) -> str:
    """The answer as server-sent events: the items, if any, and then the position after them."""
    control: dict[str, Any] = {"streamNextOffset": str(answer.next)}
    if answer.closed:
        control["streamClosed"] = True
    else:
        control["streamCursor"] = cursor
    if answer.up_to_date:
        control["upToDate"] = True
    data = f"event: data\ndata:{_array(answer)}\n\n" if answer.count else ""
    return f"{data}event: control\ndata:{msgspec.json.encode(control).decode()}\n\n"


def secure(response: Any) -> None:
    """Keeps browsers from guessing the content type, and caches from sharing the answer."""
    response["X-Content-Type-Options"] = "nosniff"
    response.setdefault("Cross-Origin-Resource-Policy", "same-origin")
    response.setdefault("Cache-Control", "no-store")
    patch_vary_headers(response, ["Authorization", "Cookie"])


def _array(answer: Answer) -> str:
    return f"[{','.join(answer.parts)}]"


def _tell(response: HttpResponse, answer: Answer, cursor: str | None) -> None:
    response["Stream-Next-Offset"] = str(answer.next)
    if answer.up_to_date:
        response["Stream-Up-To-Date"] = "true"
    if answer.closed:
        response["Stream-Closed"] = "true"
    elif cursor is not None:
        response["Stream-Cursor"] = cursor
