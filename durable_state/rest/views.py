"""The views. What may be seen, the policy says; a stream that may not be seen is not there."""

from __future__ import annotations

from itertools import chain
from typing import Any

import msgspec
from django.db import models
from django.http import Http404, HttpResponse, HttpResponseBase
from rest_framework.exceptions import NotAuthenticated, PermissionDenied
from rest_framework.generics import GenericAPIView
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response

from durable_state.conversion.keys import key_text
from durable_state.feed import Sight
from durable_state.feed.rows import rows_by_key
from durable_state.feed.showing import shown_value
from durable_state.models import DeadLetter, Stream
from durable_state.operations import (
    StreamReport,
    assess_health,
    report,
    reports,
    was_healthy_lately,
)
from durable_state.policy import Insight, audience_of, readable_streams, readable_values

from .pages import KeyPages
from .schema import describe
from .serializers import DeadLetterSerializer, EntitySerializer, HealthSerializer, StreamSerializer

__all__ = ["DeadLetterList", "EntityList", "HealthView", "StreamDetail", "StreamList"]

NAME = {"name": "name of the stream"}
_NOT_STORED = {"Cache-Control": "no-store"}
"""Health that something on the way has kept is not of now."""


class PolicyView(GenericAPIView[Any]):
    """A view that asks the policy, and nothing else, what the user may see."""

    # The policy decides; whoever may see nothing and is not signed in is asked to sign in.
    permission_classes = [AllowAny]
    filter_backends: list[Any] = []
    queryset = Stream.objects.none()

    def readable_streams(self) -> models.QuerySet[Stream]:
        """Those that the user may read."""
        return readable_streams(self.request.user)

    def stream(self, name: str) -> Stream:
        """The stream of that name. Raises: NotAuthenticated, Http404."""
        stream = self.readable_streams().filter(name=name).first()
        if stream is None:
            self.ask_to_sign_in()
            raise Http404
        return stream

    def described(self, found: StreamReport, stream: Stream | None = None) -> dict[str, Any]:
        """The report of the stream; ``last_error`` is whole for those who see the rows that it
        quotes.
        """
        shown = found.to_json()
        if found.last_error_detail:
            stream = stream or self.stream(found.name)
            if Insight(self.request.user, stream).sees_all(found.last_error_type):
                shown["last_error"] = f"{found.last_error} {found.last_error_detail}"
        return shown

    def ask_to_sign_in(self) -> None:
        """Raises: NotAuthenticated, where nobody is signed in."""
        if not self.request.user.is_authenticated:
            raise NotAuthenticated


class StreamList(PolicyView):
    """All readable streams and their status."""

    serializer_class = StreamSerializer
    pagination_class = None

    @describe(responses=StreamSerializer(many=True), operation_id="durable_state_streams_list")
    def get(self, request: Request) -> Response:
        """The readable streams, by name, each as ``status --json`` shows it."""
        found = _reports(self.readable_streams())
        if not found:
            self.ask_to_sign_in()
        return Response([self.described(each) for each in found])


class StreamDetail(PolicyView):
    """One stream and its status."""

    serializer_class = StreamSerializer

    @describe(path=NAME, responses=StreamSerializer, operation_id="durable_state_streams_retrieve")
    def get(self, request: Request, name: str) -> Response:
        """One stream as ``status --json`` shows it."""
        return Response(self.described(report(self.stream(name))))


class EntityList(PolicyView):
    """The entities of one type, as websockets show them."""

    serializer_class = EntitySerializer
    pagination_class = KeyPages
    page_order = "pk"

    @describe(
        path=NAME | {"entity_type": "the entity type on the wire"},
        query={"key": "only the entity of this key; the answer is then the entity itself, or 404"},
        responses=EntitySerializer(many=True),
        operation_id="durable_state_entities_list",
    )
    def get(self, request: Request, name: str, entity_type: str) -> Response:
        """A page of entities, by key; with ``?key=`` the one entity itself."""
        sight = audience_of(request.user, self.stream(name), [entity_type]).sights.get(entity_type)
        if sight is None:
            # Not registered, or all its rows are hidden: nobody learns which.
            raise Http404

        if (key := request.query_params.get("key")) is not None:
            found = _entities(sight, [key])
            if not found:
                raise Http404
            return Response(found[0])

        # The page is one of keys, so that a row which cannot be read costs nothing but itself.
        self.page_order = sight.mapping.key.attname
        page = self.paginate_queryset(sight.rows.values(self.page_order)) or []
        keys = [key_text(sight.mapping.key, each[self.page_order]) for each in page]
        return self.get_paginated_response(_entities(sight, keys))


class DeadLetterList(PolicyView):
    """The refused messages of one stream."""

    serializer_class = DeadLetterSerializer
    pagination_class = KeyPages

    @describe(
        path=NAME,
        responses=DeadLetterSerializer(many=True),
        operation_id="durable_state_dead_letters_list",
    )
    def get(self, request: Request, name: str) -> Response:
        """A page of dead letters. Needs the permission ``durable_state.view_deadletter`` besides.

        Values are shown of those entities only whose rows the user may see.
        """
        stream = self.stream(name)
        if not request.user.has_perm("durable_state.view_deadletter"):
            raise PermissionDenied
        letters = DeadLetter.objects.using(stream.using).filter(
            stream=stream, generation=DeadLetter.SHOWN
        )
        page = self.paginate_queryset(letters.select_related("stream")) or []
        context = {
            **self.get_serializer_context(),
            "readable": readable_values(request.user, page),
        }
        serializer = self.serializer_class(page, many=True, context=context)
        return self.get_paginated_response(serializer.data)


class HealthView(PolicyView):
    """For monitoring."""

    serializer_class = HealthSerializer
    pagination_class = None

    @describe(
        responses={200: HealthSerializer, 503: HealthSerializer},
        operation_id="durable_state_health_retrieve",
    )
    def get(self, request: Request) -> HttpResponseBase:
        """503 when any stream of any database is stuck, or a database does not answer, else 200.

        The body, for signed-in callers only, lists the stuck streams they may read. The others get
        an answer that is a few seconds old at most.
        """
        if not request.user.is_authenticated:
            return HttpResponse(status=200 if was_healthy_lately() else 503, headers=_NOT_STORED)

        found = assess_health()
        shown = [self._readable(using, stuck) for using, stuck in found.stuck.items()]
        return Response(
            {"status": "ok" if found.is_well else "stuck", "stuck": list(chain(*shown))},
            status=200 if found.is_well else 503,
            headers=_NOT_STORED,
        )

    def _readable(self, using: str, stuck: list[StreamReport]) -> list[dict[str, Any]]:
        """Those of a database's stuck streams that the user may read."""
        names = [each.name for each in stuck]
        streams = self.readable_streams().using(using).filter(name__in=names)
        by_name = {stream.name: stream for stream in streams}
        return [self.described(each, by_name[each.name]) for each in stuck if each.name in by_name]


def _reports(streams: models.QuerySet[Stream]) -> list[StreamReport]:
    return list(reports(streams.db, pks=streams.values_list("pk", flat=True)).values())


def _entities(sight: Sight, keys: list[str]) -> list[dict[str, Any]]:
    """The entities of these keys as plain JSON values, exactly as the feed encodes them;
    without those that cannot be shown.
    """
    mapping = sight.mapping
    found = rows_by_key(mapping, sight.rows, keys)
    values = {key: shown_value(mapping, found[key]) for key in keys if key in found}
    return [
        {
            "type": mapping.entity_type,
            "key": key,
            "value": msgspec.json.decode(sight.only(value)),
        }
        for key, value in values.items()
        if value is not None
    ]
