"""The page that Prometheus scrapes."""

from __future__ import annotations

import hmac
import os

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from durable_state.conf import get_settings

from .collector import StreamCollector

__all__ = ["metrics"]


@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Every stream as the tables show it, and what this process has counted; with
    ``PROMETHEUS_MULTIPROC_DIR``, what all processes that share the directory have counted.

    Requires ``METRICS_TOKEN``, or Django's permission to view streams; answers 403 to others.
    """
    if not _may_scrape(request):
        return HttpResponse(
            "Send METRICS_TOKEN as a bearer token, or sign in as a user who may view streams.\n",
            status=403,
            content_type="text/plain; charset=utf-8",
        )

    tables = CollectorRegistry()
    tables.register(StreamCollector())
    shared = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    if shared:
        MultiProcessCollector(tables, shared)  # type: ignore[no-untyped-call]
    counted = b"" if shared else generate_latest(REGISTRY)
    return HttpResponse(generate_latest(tables) + counted, content_type=CONTENT_TYPE_LATEST)


def _may_scrape(request: HttpRequest) -> bool:
    token = get_settings().metrics_token
    if token:
        brought = request.headers.get("Authorization", "")
        if hmac.compare_digest(brought.encode(), f"Bearer {token}".encode()):
            return True
    user = getattr(request, "user", None)
    return user is not None and user.has_perm("durable_state.view_stream")
