"""The view of the webhook that stream servers call.

Why: decision 62. Spec: PROTOCOL.md 7.1, 12.10.
"""

from __future__ import annotations

import logging
from typing import NamedTuple

import msgspec
from django.contrib.auth.decorators import login_not_required
from django.db import DatabaseError, connections, transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.request import UnreadablePostError
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from durable_state.conf import get_settings
from durable_state.consumer import ask_for_keys, ring, root_of
from durable_state.databases.clock import ServerSeconds
from durable_state.errors import DurableStateError
from durable_state.models import Doorbell, Live
from durable_state.protocol.signatures import Signature, is_signed, parse_signature
from durable_state.protocol.subscriptions import ClaimedWake, Wake, path_below, same_path

from .keys import KeyRing

__all__ = ["doorbell"]

logger = logging.getLogger("durable_state.webhook")

_keys = KeyRing()


class _Refused(Exception):
    """The request is answered with this status and changes nothing."""

    def __init__(self, status: int, reason: str, told: str = "") -> None:
        super().__init__(status, reason)
        self.status = status
        self.reason = reason
        self.told = told or reason
        """What the caller is told."""


class _Rung(NamedTuple):
    """The doorbell that a request names, and its database's time in seconds since 1970."""

    doorbell: Doorbell
    seconds: int


@csrf_exempt
@login_not_required
@transaction.non_atomic_requests
@require_POST
def doorbell(request: HttpRequest, database: str, name: str) -> HttpResponse:
    """Has the stream read, if its own server signed that there is something to read.

    The ring is stored before the answer, which does not wait for the reading: the reader
    acknowledges the wake to the server later. A repeated request changes nothing.
    """
    try:
        body = _read(request)
        rung = _find(database, name)
        _verify(rung, request.headers.get("Webhook-Signature", ""), body)
        _ring(rung, body)
    except _Refused as refused:
        logger.info("%s: a webhook was refused: %s", name, refused.reason)
        return JsonResponse({"error": refused.told}, status=refused.status)
    except (DurableStateError, DatabaseError) as error:
        # Either may pass or be mended, so the server should try again.
        logger.warning("%s: a webhook could not be taken: %s", name, error)
        return JsonResponse(
            {"error": "it cannot be accepted now"}, status=503, headers={"Retry-After": "10"}
        )
    return JsonResponse({"done": False})


def _read(request: HttpRequest) -> bytes:
    most = get_settings().webhook_bytes
    told = request.META.get("CONTENT_LENGTH") or "0"
    if told.isdecimal() and int(told) > most:
        raise _Refused(413, "too large")
    try:
        body = request.read(most + 1)
    except UnreadablePostError as error:
        raise _Refused(400, "cut short") from error
    if len(body) > most:
        raise _Refused(413, "too large")
    return body


def _find(database: str, name: str) -> _Rung:
    """Raises: _Refused, as for a wrong signature, so that nobody learns which streams exist."""
    if database not in connections:
        raise _unsigned("no such stream")
    found = (
        Doorbell.objects.using(database)
        .filter(stream__name=name, stream__live=Live.WEBHOOK)
        .select_related("stream")
        .annotate(seconds=ServerSeconds())
        .first()
    )
    if found is None:
        raise _unsigned("no such stream")
    return _Rung(found, found.seconds)


def _verify(rung: _Rung, header: str, body: bytes) -> None:
    """Raises: _Refused, if the stream's server did not sign the body, or not recently."""
    signature = parse_signature(header)
    if signature is None:
        raise _unsigned("no readable signature")
    if abs(rung.seconds - int(signature.timestamp)) > get_settings().webhook_seconds:
        raise _unsigned("signed too long ago, or ahead of time")

    key = _find_key(rung, signature)
    if key is None:
        raise _unsigned("signed with a key that the server does not have")
    if not is_signed(body, signature, key):
        raise _unsigned("the signature does not match")


def _find_key(rung: _Rung, signature: Signature) -> bytes | None:
    """Asks the stream's own server. The request names a key, never an address."""
    stream = rung.doorbell.stream
    return _keys.find(root_of(stream), signature.key_id, lambda: ask_for_keys(stream))


def _ring(rung: _Rung, body: bytes) -> None:
    """Rings the doorbell. Raises: _Refused, if the wake is not about this stream."""
    try:
        wake = msgspec.json.decode(body, type=Wake)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _Refused(400, "no readable wake") from error

    found, stream = rung.doorbell, rung.doorbell.stream
    path = path_below(root_of(stream), stream.url)
    is_meant = any(same_path(each.path, path) for each in wake.streams)
    if wake.subscription_id != found.subscription or not is_meant:
        raise _Refused(400, "of another subscription, or of other streams")

    doorbells = Doorbell.objects.using(stream.using).filter(pk=found.pk)
    claim = ClaimedWake(wake.wake_id, wake.generation, wake.callback_token)
    if not ring(doorbells, wake.generation, claim):
        logger.info("%s: wake %s has come before.", stream.name, wake.generation)


def _unsigned(reason: str) -> _Refused:
    return _Refused(401, reason, "not signed by the stream's server, or not lately")
