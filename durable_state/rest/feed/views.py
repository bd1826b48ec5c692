"""The route ``streams/<name>/feed/``: GET and HEAD."""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.auth.models import AnonymousUser
from django.core.handlers.asgi import ASGIRequest
from django.db import connections, transaction
from django.http import Http404, HttpResponse, HttpResponseBase, StreamingHttpResponse
from rest_framework import status
from rest_framework.exceptions import APIException, ParseError, Throttled
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request

from durable_state.feed import TooManySubscribers, run_for
from durable_state.models import Stream
from durable_state.policy import audience_of, followed_stream

from ..schema import describe
from ..views import NAME, PolicyView
from .answers import next_cursor, nothing_new, plain, secure
from .caller import current_user, name_of
from .live import event_stream, long_poll
from .offset import NOW, START, Offset
from .reading import Reading

__all__ = ["FeedView"]

logger = logging.getLogger("durable_state.feed")

LIVE = ("long-poll", "sse")
_QUERY = {
    "offset": "`-1` (or none) from the start, `now` from the end, or the last `Stream-Next-Offset`",
    "live": "`long-poll` or `sse`: waits for what comes; needs `offset`, and an ASGI server",
    "cursor": "the last `Stream-Cursor`",
    "type": "only entities of this type; may be repeated",
    "key": "only the entities of this key; may be repeated",
}


class LiveNeedsAsgi(APIException):
    """Live reading was requested under WSGI."""

    status_code = status.HTTP_501_NOT_IMPLEMENTED
    default_detail = (
        "Live reading needs an ASGI server (uvicorn, Daphne, Hypercorn): a WSGI server would"
        " hold a thread for each reader. Serve the project's asgi.py, or read without `live`."
    )
    default_code = "live_needs_asgi"


class FeedView(PolicyView):
    """One stream's feed as a durable stream, for the official clients."""

    renderer_classes = [JSONRenderer]
    has_pages = False
    pagination_class = None

    @classmethod
    def as_view(cls, **initkwargs: Any) -> Any:
        """As in DRF, but also works with ATOMIC_REQUESTS, which Django refuses for coroutines."""
        view = super().as_view(**initkwargs)
        for alias in connections:
            view = transaction.non_atomic_requests(using=alias)(view)
        return view

    @describe(
        path=NAME,
        query=_QUERY,
        responses={
            (200, "application/json"): list[dict[str, Any]],
            (200, "text/event-stream"): str,
            204: None,
            304: None,
            410: None,
        },
        operation_id="durable_state_feed_read",
    )
    async def get(self, request: Request, name: str) -> HttpResponseBase:
        """Changes as a JSON array of State Protocol messages: the read half of Durable Streams."""
        offset, live, cursor = self._asked(request)
        reading = await sync_to_async(self._reading)(request, name)
        if not live:
            return await sync_to_async(self._read)(request, reading, offset)
        if not isinstance(request._request, ASGIRequest):
            raise LiveNeedsAsgi

        follower = name_of(request)
        begin = partial(_begin, follower, reading, offset)
        renew = partial(_renewed, request, name)
        try:
            if live == "sse":
                texts = await event_stream(reading, begin, follower, renew, cursor)
                return _event_response(texts)
            answer = await long_poll(reading, begin, follower, renew)
        except TooManySubscribers as error:
            logger.warning("%s", error)
            raise Throttled(wait=10, detail="Too many read this stream live.") from error
        if not answer.count and answer.up_to_date:
            return nothing_new(answer, next_cursor(cursor))
        return plain(answer, identity=reading.identity, cursor=next_cursor(cursor))

    @describe(path=NAME, query={"type": _QUERY["type"], "key": _QUERY["key"]}, exclude=True)
    async def head(self, request: Request, name: str) -> HttpResponse:
        """The position of the feed's end."""
        reading = await sync_to_async(self._reading)(request, name)
        return plain(await sync_to_async(reading.tail)())

    async def dispatch(  # type: ignore[override]  # Django awaits it
        self, request: Any, *args: Any, **kwargs: Any
    ) -> Any:
        """As in DRF, for handlers that are coroutines."""
        self.args, self.kwargs = args, kwargs
        self.request = self.initialize_request(request, *args, **kwargs)
        self.headers = self.default_response_headers
        response: Any
        try:
            await sync_to_async(self.initial)(self.request, *args, **kwargs)
            if request.method in ("GET", "HEAD"):
                read = self.get if request.method == "GET" else self.head
                response = await read(self.request, *args, **kwargs)
            else:
                is_asked = request.method == "OPTIONS"
                answer = self.options if is_asked else self.http_method_not_allowed
                response = await sync_to_async(answer)(self.request, *args, **kwargs)
        except Exception as error:
            response = await sync_to_async(self.handle_exception)(error)
        response = self.finalize_response(self.request, response, *args, **kwargs)
        secure(response)
        self.response = response
        return response

    def perform_content_negotiation(self, request: Request, force: bool = False) -> Any:
        """Errors are JSON, whatever the client accepts: the protocol defines the answers."""
        return super().perform_content_negotiation(request, force=True)

    def _asked(self, request: Request) -> tuple[str, str, str]:
        """Returns offset, live mode and cursor. Raises: ParseError."""
        query = request.query_params
        offsets, live = query.getlist("offset"), query.get("live", "")
        if len(offsets) > 1 or "" in offsets:
            raise ParseError("Send one offset: -1, now, or the last Stream-Next-Offset.")
        if live and live not in LIVE:
            raise ParseError("live is long-poll or sse.")
        if live and not offsets:
            raise ParseError("Live reading needs an offset: -1, now, or the last one.")
        offset = offsets[0] if offsets else START
        if offset not in (START, NOW) and Offset.parse(offset) is None:
            raise ParseError("This is not an offset: send Stream-Next-Offset back unchanged.")
        return offset, live, query.get("cursor", "")

    def _reading(self, request: Request, name: str) -> Reading:
        """Opens the stream for the caller. Raises: NotAuthenticated, Http404."""
        stream = followed_stream(_user(request), name)
        if stream is None:
            self.ask_to_sign_in()
            raise Http404
        return Reading(stream, _audience(_user(request), stream, request), name_of(request))

    def _read(self, request: Request, reading: Reading, offset: str) -> HttpResponse:
        if offset == NOW:
            return plain(reading.tail())
        answer = reading.read(reading.begin(offset))
        given = request.headers.get("If-None-Match", "")
        return plain(answer, identity=reading.identity, given_etags=given)


def _user(request: Request) -> Any:
    """The caller; anonymous even if the project's UNAUTHENTICATED_USER is None."""
    return AnonymousUser() if request.user is None else request.user


def _audience(user: Any, stream: Stream, request: Request) -> Any:
    query = request.query_params
    return audience_of(user, stream, query.getlist("type"), query.getlist("key"))


async def _begin(follower: str, reading: Reading, offset: str) -> Offset:
    return await run_for(follower, reading.begin, offset)


def _renewed(request: Request, name: str, reading: Reading) -> bool:
    """Whether the caller may still read the stream, with unchanged permissions."""
    user = current_user(request)
    stream = followed_stream(user, name)
    return stream is not None and reading.renew(stream, _audience(user, stream, request))


def _event_response(texts: Any) -> StreamingHttpResponse:
    response = StreamingHttpResponse(texts, content_type="text/event-stream")
    response["Cache-Control"] = "no-cache, no-transform"
    response["X-Accel-Buffering"] = "no"
    # Otherwise GZipMiddleware compresses each event separately, and browsers read only the first.
    response["Content-Encoding"] = "identity"
    return response
