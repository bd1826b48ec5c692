"""The chat over HTTP: pages, a visitor's name, and actions, which become changes on a stream."""

from __future__ import annotations

import json
import logging
import uuid

from asgiref.sync import sync_to_async
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import aget_object_or_404, get_object_or_404, redirect, render
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.http import require_POST

from durable_state.errors import TransportError
from durable_state.transport import append, open_client

from .actions import EMOJI, TEXT_LIMIT, Refused, Visitor, changes_for
from .models import Room

__all__ = ["act", "first_room", "name", "room"]

logger = logging.getLogger(__name__)


def first_room(request: HttpRequest) -> HttpResponseBase:
    """Redirects to the first room."""
    room = Room.objects.first()
    if room is None:
        return HttpResponse(
            "There are no rooms yet: `make demo` creates some.",
            status=503,
            content_type="text/plain",
        )
    return redirect(room)


@ensure_csrf_cookie
def room(request: HttpRequest, slug: str) -> HttpResponse:
    """Shows a room. Its content comes by websocket."""
    here = get_object_or_404(Room.objects.select_related("stream"), slug=slug)
    visitor = {"key": request.session.get("key", ""), "name": request.session.get("name", "")}
    context = {
        "room": here,
        "rooms": Room.objects.all(),
        "visitor": visitor,
        "setup": {
            "stream": here.stream.name,
            "visitor": visitor,
            "emoji": EMOJI,
            "textLimit": TEXT_LIMIT,
        },
    }
    return render(request, "chat/room.html", context)


@require_POST
def name(request: HttpRequest) -> HttpResponse:
    """Keeps the visitor's name in the session. The key stays: one browser is one user."""
    wanted = " ".join(request.POST.get("name", "").replace("\0", "").split())
    if not 1 <= len(wanted) <= 40:
        return JsonResponse({"error": "A name has 1 to 40 characters."}, status=400)
    request.session.setdefault("key", uuid.uuid4().hex)
    request.session["name"] = wanted
    return JsonResponse({"key": request.session["key"], "name": wanted})


@require_POST
async def act(request: HttpRequest, slug: str) -> HttpResponse:
    """Appends what a visitor says or does to the room's stream.

    It is shown when it comes back as rows.
    """
    here = await aget_object_or_404(Room.objects.select_related("stream"), slug=slug)
    visitor = await sync_to_async(_visitor)(request)
    if visitor is None:
        return JsonResponse({"error": "Choose a name first."}, status=403)
    try:
        action = json.loads(request.body)
        key, changes = await changes_for(here, visitor, action)
    except (ValueError, RecursionError):  # the latter: too many brackets
        return JsonResponse({"error": "That is not JSON."}, status=400)
    except Refused as refusal:
        return JsonResponse({"error": str(refusal)}, status=400)
    try:
        async with open_client() as client:
            await append(client, here.stream.url, changes)
    except TransportError as error:
        logger.error("%s: %s", here, error)  # a visitor has no use for the details
        return JsonResponse({"error": "The stream server did not accept it."}, status=502)
    return JsonResponse({"key": key})


def _visitor(request: HttpRequest) -> Visitor | None:
    session = request.session
    if "key" not in session or "name" not in session:
        return None
    return Visitor(session["key"], session["name"])
