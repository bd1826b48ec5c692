"""Answers a request for some live parts of a page with these alone.

Why: decision 73.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from urllib.parse import quote, unquote

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.http import HttpRequest, HttpResponse, HttpResponseNotModified
from django.http.response import HttpResponseBase
from django.utils.cache import patch_vary_headers

from .messages import keep_messages
from .part import PART_HEADER, parts_of, unchanged_parts

__all__ = ["LivePartMiddleware"]


class LivePartMiddleware:
    """Answers a request for live parts with these alone, or with 304 if they have not changed.

    The view runs as usual, with its permissions and its context. Pages are live without the
    middleware too: the script then takes the parts out of the whole page. Put it below
    ``AuthenticationMiddleware`` and ``MessageMiddleware``.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        if iscoroutinefunction(self.get_response):
            return self._respond(request)
        names = _wanted(request)
        if names and unchanged_parts(request, names):
            return _not_modified()
        return _only_parts(request, names, self.get_response(request))

    async def _respond(self, request: HttpRequest) -> HttpResponseBase:
        names = _wanted(request)
        if names and await sync_to_async(unchanged_parts)(request, names):
            return _not_modified()
        response = await self.get_response(request)  # type: ignore[misc]
        return _only_parts(request, names, response)


def _wanted(request: HttpRequest) -> list[str]:
    """The names of the requested parts; none if the whole page is requested."""
    if request.method != "GET":
        return []
    return [unquote(name) for name in request.headers.get(PART_HEADER, "").split(",") if name]


def _not_modified() -> HttpResponse:
    response = HttpResponseNotModified()
    patch_vary_headers(response, [PART_HEADER, "Cookie"])
    return response


def _only_parts(
    request: HttpRequest, names: list[str], response: HttpResponseBase
) -> HttpResponseBase:
    """The response, reduced to the requested parts if it has all of them."""
    rendered = {name: part for name, part in parts_of(request).items() if part[1]}
    if not rendered:
        return response
    # A cache must not return a part as the page, nor the page as a part.
    patch_vary_headers(response, [PART_HEADER])
    if (
        not names
        or response.status_code != 200
        or not isinstance(response, HttpResponse)
        or response.has_header("Content-Encoding")
        or not response.headers.get("Content-Type", "").startswith("text/html")
        or not rendered.keys() >= set(names)
    ):
        return response

    parts = [rendered[name] for name in dict.fromkeys(names)]
    if not any(part.shows_messages for part, _ in parts):
        keep_messages(request)
    # In a template each: beside a div, a parser drops rows of a table.
    response.content = "".join(f"<template>{html}</template>" for _, html in parts).encode(
        response.charset
    )
    response.headers.pop("Content-Length", None)
    response.headers[PART_HEADER] = ",".join(quote(part.name, safe="") for part, _ in parts)
    response.headers["ETag"] = f'"{",".join(part.etag for part, _ in parts)}"'
    # Otherwise a browser that goes back would show the part as the page.
    response.headers["Cache-Control"] = "no-store"
    return response
