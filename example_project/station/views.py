"""Behind the scenes: a departures board, buttons that send events, and the times they take."""

from __future__ import annotations

import json
import time
import uuid

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import aget_object_or_404, get_object_or_404, render
from django.urls import reverse
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
"""How many commits are searched for a transaction; the page asks right after its frame came."""


@ensure_csrf_cookie
def board(request: HttpRequest) -> HttpResponse:
    """Shows the page. Board, dead letters and counts are live parts of its template."""
    stream = get_object_or_404(Stream, name=NAME)
    context = {
        "account": report(stream).account,
        "departures": Departure.objects.all(),
        "letters": DeadLetter.objects.filter(stream__name=NAME).order_by("-pk")[:8],
    }
    return render(request, "station/board.html", context)


@ensure_csrf_cookie
def streamdb(request: HttpRequest) -> HttpResponse:
    """Shows the same rows by our JavaScript client and, if it is installed, by the official one."""
    installed = (settings.NPM / "@tanstack" / "db").is_dir()
    clients = [("ours", "durable_state/client.js", "websocket")]
    if installed:
        clients.append(("theirs", "StreamDB", "@durable-streams/state, by SSE"))
    feed = request.build_absolute_uri(reverse("durable_state:feed", args=[NAME]))
    context = {"installed": installed, "clients": clients, "feed": feed}
    return render(request, "station/streamdb.html", context)


@require_POST
async def send(request: HttpRequest) -> HttpResponse:
    """Appends one event, many, or garbage; answers what that was and when the stream had it."""
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
    """Tells when a transaction was committed, by the worker's clock, which is also ours here.

    After a reset, the commit that shows the new rows names all transactions once more; the first
    commit that names one is its own.
    """
    stream = await aget_object_or_404(Stream, name=NAME)
    newest = stream.feed.order_by("-revision")[:_NEWEST]
    naming = [entry async for entry in newest if txid in bytes(entry.txids).decode()]
    if not naming:
        raise Http404(txid)
    return JsonResponse({"committed": naming[-1].created_at.timestamp() * 1000})


@require_POST
def control(request: HttpRequest) -> HttpResponse:
    """Resets, pauses or resumes the stream, or asks the demo to kill its worker."""
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
                # The demo started the worker, so it kills it, and starts another: demo/__main__.py.
                (settings.STATE_DIR / "kill-worker").touch()
            case _:
                return JsonResponse({"error": "This request is not valid."}, status=400)
    except DurableStateError as error:
        return JsonResponse({"error": str(error)}, status=409)
    return JsonResponse({})


def _milliseconds() -> float:
    return time.time() * 1000
