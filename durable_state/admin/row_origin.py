"""Where a synced row comes from: its stream, its last change, refused and parked changes, its
history.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec
from django.contrib.admin import AdminSite
from django.db import models
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse

from durable_state import operations
from durable_state.feed.log import LoggedChange
from durable_state.models import (
    DeadLetter,
    FeedEntry,
    ParkedChange,
    Stream,
    VerificationRun,
    entity_digest,
)
from durable_state.policy import readable_values
from durable_state.registry import EntityMapping

from .page_feeds import streams_of_row
from .reasons import reason_of
from .stream_cells import status_pill
from .stream_verifications import told_progress, told_story

__all__ = ["Origin", "origins", "told_origin"]

ENTRIES = 200
"""How many of the newest commits are searched for the row's last change."""
ENTRY_BYTES = 4 * 1024 * 1024
"""How many bytes of these commits are searched."""


class Origin(NamedTuple):
    """One entity that the row shows."""

    stream: Stream
    type: str
    key: str


def origins(
    request: HttpRequest, mappings: Iterable[EntityMapping], row: models.Model
) -> list[Origin]:
    """Finds the entities that the row shows; several if several mappings write its model."""
    return [
        Origin(stream, mapping.entity_type, mapping.key_of(row))
        for mapping in mappings
        for stream in streams_of_row(request, mapping, row)
    ]


def told_origin(site: AdminSite, request: HttpRequest, origin: Origin) -> dict[str, Any]:
    """What a row's page tells about its origin."""
    stream, using = origin.stream, origin.stream.using
    entity = {"stream": stream, "entity": entity_digest(origin.type, origin.key)}
    letters = DeadLetter.objects.using(using).select_related("stream")
    parked = ParkedChange.objects.using(using).select_related("stream")
    letter = letters.filter(**entity, generation=DeadLetter.SHOWN).first()
    waiting = parked.filter(**entity).first()
    found = [each for each in (letter, waiting) if each is not None]
    readable = readable_values(request.user, found) if found else set()
    change = _last_change(origin)
    return {
        "stream": stream,
        "stream_url": _url(site, request, stream),
        "pill": status_pill(operations.report(stream, count_to=0)),
        "type": origin.type,
        "key": origin.key,
        "change": change,
        "change_url": _url(site, request, change),
        "letter": letter,
        "letter_words": "" if letter is None else reason_of(letter).words,
        "letter_detail": letter.detail if letter is not None and letter.pk in readable else "",
        "letter_url": _url(site, request, letter),
        "parked": waiting,
        "parked_detail": waiting.detail if waiting is not None and waiting.pk in readable else "",
        "parked_url": _url(site, request, waiting),
        "story": _story(request, origin),
    }


def _last_change(origin: Origin) -> FeedEntry | None:
    """Finds the newest commit that changed the row, if it is among the newest in the log."""
    log = FeedEntry.objects.using(origin.stream.using).filter(stream=origin.stream)
    newest = log.order_by("-revision").only("stream", "revision", "created_at", "changes")
    needle, left = msgspec.json.encode(origin.key), ENTRY_BYTES
    for entry in newest[:ENTRIES].iterator(chunk_size=10):
        body = bytes(entry.changes)
        if needle in body and _names(body, origin):
            return entry
        left -= len(body)
        if left < 0:
            return None
    return None


def _names(body: bytes, origin: Origin) -> bool:
    changes = msgspec.json.decode(body, type=list[LoggedChange])
    return any((each.type, each.key) == (origin.type, origin.key) for each in changes)


def _story(request: HttpRequest, origin: Origin) -> dict[str, Any] | None:
    """The newest verification that was requested for the entity."""
    runs = VerificationRun.objects.using(origin.stream.using).select_related("stream", "intent")
    run = runs.filter(stream=origin.stream, entity_type=origin.type, entity_key=origin.key).first()
    if run is None:
        return None
    is_open = run.state in VerificationRun.OPEN
    return {
        "run": run,
        "is_open": is_open,
        "progress": told_progress(run) if is_open else "",
        "percent": 100 * run.done / run.total if run.total else None,
        "text": told_story(request, run),
    }


def _url(site: AdminSite, request: HttpRequest, found: models.Model | None) -> str:
    """Returns the URL of the entity's page if the site has one that the user may see."""
    model_admin: Any = None if found is None else site._registry.get(type(found))
    if found is None or model_admin is None or not model_admin.has_view_permission(request):
        return ""
    try:
        name = f"admin:durable_state_{found._meta.model_name}_change"
        return reverse(name, args=[found.pk], current_app=site.name)
    except NoReverseMatch:
        return ""
