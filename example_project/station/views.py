"""Behind the scenes: a board, buttons that send events, and when each was where."""

from __future__ import annotations

import json
import time
import uuid

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import aget_object_or_404, get_object_or_404, render
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.http import require_POST

from durable_state.errors import DurableStateError, TransportError
from durable_state.models import DeadLetter, Stream
from durable_state.operations import pause, report, reset, resume
from durable_state.transport import append, open_client

from .events import garbage, news
from .models import Departure

__all__ = ["board", "commit", "control", "send", "streamdb"]

NAME = "station"
MANY = 500
"""Events that are sent at once at most."""
_NEWEST = 20
"""Commits among which a transaction is looked for; the page asks at once."""


@ensure_csrf_cookie
def board(request: HttpRequest) -> HttpResponse:
    """The page; the board and the letters in it are live parts."""
    stream = get_object_or_404(Stream, name=NAME)
    context = {
        "account": report(stream).account,
        "departures": Departure.objects.all(),
        "letters": DeadLetter.objects.filter(stream__name=NAME).order_by("-pk")[:8],
    }
    return render(request, "station/board.html", context)


@ensure_csrf_cookie
def streamdb(request: HttpRequest) -> HttpResponse:
    """The same rows by the official client and by ours, where the official one is installed."""
    context = {
        "installed": (settings.NPM / "@tanstack" / "db").is_dir(),
        "clients": [
            ("ours", "durable_state/client.js", "websocket"),
            ("theirs", "StreamDB", "@durable-streams/state, by SSE"),
        ],
    }
    return render(request, "station/streamdb.html", context)


@require_POST
async def send(request: HttpRequest) -> HttpResponse:
    """Appends one event, many, or garbage, and tells what it was and when it lay in the stream."""
    stream = await aget_object_or_404(Stream, name=NAME)
    begun = _milliseconds()
    what = request.POST.get("what", "one")
    txid = uuid.uuid4().hex[:12]
    if what == "garbage":
        messages = garbage(txid)
    else:
        many = MANY if what == "many" else 1
        messages = [news(txid if many == 1 else uuid.uuid4().hex[:12]) for _ in range(many)]
    try:
        async with open_client() as client:
            await append(client, stream.url, messages)
    except TransportError as error:
        return JsonResponse({"error": f"The stream server did not accept it: {error}"}, status=502)
    return JsonResponse(
        {
            "txid": txid,
            "begun": begun,
            "appended": _milliseconds(),
            "events": [json.loads(each) for each in messages[:5]],
            "count": len(messages),
        }
    )


async def commit(request: HttpRequest, txid: str) -> HttpResponse:
    """When a transaction was committed, by the worker's clock, which is ours here."""
    stream = await aget_object_or_404(Stream, name=NAME)
    async for entry in stream.feed.order_by("-revision")[:_NEWEST]:
        if txid in bytes(entry.txids).decode():
            committed = entry.created_at.timestamp() * 1000
            return JsonResponse({"committed": committed, "revision": entry.revision})
    raise Http404(txid)


@require_POST
def control(request: HttpRequest) -> HttpResponse:
    """Resets, pauses or resumes the stream, or has the demo kill its worker."""
    stream = get_object_or_404(Stream, name=NAME)
    actor = "the example's page"
    try:
        match request.POST.get("do"):
            case "reset":
                reset(stream, actor=actor)
            case "pause":
                pause(stream, actor=actor)
            case "resume":
                resume(stream, actor=actor)
            case "kill":
                # Who started the worker ends it, and starts it again: see demo/__main__.py.
                (settings.STATE_DIR / "kill-worker").touch()
            case _:
                return JsonResponse({"error": "This request is not valid."}, status=400)
    except DurableStateError as error:
        return JsonResponse({"error": str(error)}, status=409)
    return JsonResponse({})


def _milliseconds() -> float:
    return time.time() * 1000
