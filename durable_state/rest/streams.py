"""Streams, and whether they are healthy."""

from __future__ import annotations

from itertools import chain
from typing import Any

from django.db.models import QuerySet
from django.http import HttpResponse, HttpResponseBase
from rest_framework.request import Request
from rest_framework.response import Response

from durable_state.models import Status, Stream
from durable_state.operations import (
    Shown,
    StreamReport,
    assess_health,
    report,
    reports,
    standings,
    was_healthy_lately,
)

from .etags import tagged
from .examples import HEALTH, STREAM
from .filters import chosen_fields, chosen_flag, chosen_names, filter_list, simple_order
from .pages import KeyPages
from .schema import describe
from .serializers import HealthSerializer, StreamSerializer
from .views import NAME, PolicyView

__all__ = ["HealthView", "StreamDetail", "StreamList"]

_NOT_STORED = {"Cache-Control": "no-store"}
"""Keeps caches from serving an outdated state."""
_FIELDS = {"fields": "only these members of each stream, separated by commas"}
_MEMBERS = list(StreamSerializer().fields)
_STATUSES = sorted({*Status.values, *Shown})


class StreamList(PolicyView):
    """The readable streams and their status."""

    serializer_class = StreamSerializer
    pagination_class = KeyPages

    @describe(
        query={
            "name": "only the stream of this name; with django-filter `name__in`,"
            " `name__contains` and `name__startswith`, too",
            "status": "only streams with this status; several, separated by commas",
            "stuck": "`true`: only streams that wait for a person; `false`: only the others",
            "ordering": "`name` or `-name`",
            **_FIELDS,
        },
        responses={200: StreamSerializer(many=True), 304: None},
        examples=[STREAM],
        operation_id="durable_state_streams_list",
    )
    def get(self, request: Request) -> Any:
        """A page of streams, by name, each as `status --json` shows it."""
        self.page_order = simple_order(request, "name", "name")
        fields = chosen_fields(request, _MEMBERS)
        streams = self.readable_streams()
        found = filter_list(request, streams, {"name": ["exact", "in", "contains", "startswith"]})
        found = _with_status(request, found)
        names = [each["name"] for each in self.paginate_queryset(found) or []]
        if not names and not streams.exists():
            self.ask_to_sign_in()
        pks = streams.filter(name__in=names).values_list("pk", flat=True)
        by_name = {each.name: each for each in reports(streams.db, pks=pks).values()}
        shown = [self.described(by_name[name]) for name in names if name in by_name]
        page = self.get_paginated_response([_only(each, fields) for each in shown])
        return tagged(request, page)


class StreamDetail(PolicyView):
    """One stream and its status."""

    serializer_class = StreamSerializer

    @describe(
        path=NAME,
        query=_FIELDS,
        responses={200: StreamSerializer, 304: None},
        examples=[STREAM],
        operation_id="durable_state_streams_retrieve",
    )
    def get(self, request: Request, name: str) -> Any:
        """One stream as `status --json` shows it."""
        fields = chosen_fields(request, _MEMBERS)
        shown = self.described(report(self.stream(name)))
        return tagged(request, Response(_only(shown, fields)))


class HealthView(PolicyView):
    """For monitoring."""

    serializer_class = HealthSerializer
    pagination_class = None
    # Monitoring may ask as often as it likes, and accept whatever it likes.
    throttle_classes = []

    @describe(
        responses={200: HealthSerializer, 503: HealthSerializer},
        examples=[HEALTH],
        refusals=[401, 403],
        operation_id="durable_state_health_retrieve",
    )
    def get(self, request: Request) -> HttpResponseBase:
        """503 if a stream of any database is stuck, or a database does not answer; else 200.

        The body is for signed-in callers only, and lists the stuck streams that they may read.
        Other callers get an answer that is at most a few seconds old.
        """
        if not self.user.is_authenticated:
            return HttpResponse(status=200 if was_healthy_lately() else 503, headers=_NOT_STORED)

        found = assess_health()
        shown = [self._readable(using, stuck) for using, stuck in found.stuck.items()]
        return Response(
            {"status": "ok" if found.is_well else "stuck", "stuck": list(chain(*shown))},
            status=200 if found.is_well else 503,
            headers=_NOT_STORED,
        )

    def perform_content_negotiation(self, request: Request, force: bool = False) -> Any:
        return super().perform_content_negotiation(request, force=True)

    def _readable(self, using: str, stuck: list[StreamReport]) -> list[dict[str, Any]]:
        """Describes the stuck streams of a database that the user may read."""
        names = [each.name for each in stuck]
        streams = self.readable_streams().using(using).filter(name__in=names)
        by_name = {stream.name: stream for stream in streams}
        return [self.described(each, by_name[each.name]) for each in stuck if each.name in by_name]


def _with_status(request: Request, streams: QuerySet[Stream]) -> Any:
    """The streams whose reports match ``?status=`` and ``?stuck=``. Raises: ValidationError."""
    statuses = chosen_names(request, "status", _STATUSES)
    stuck = chosen_flag(request, "stuck")
    if statuses is None and stuck is None:
        return streams
    return streams.filter(
        pk__in=[
            pk
            for pk, each in standings(streams).items()
            if (statuses is None or each.status in statuses)
            and (stuck is None or each.stuck == stuck)
        ]
    )


def _only(shown: dict[str, Any], fields: frozenset[str] | None) -> dict[str, Any]:
    if fields is None:
        return shown
    return {name: value for name, value in shown.items() if name in fields}
