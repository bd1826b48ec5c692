"""The entities of one type."""

from __future__ import annotations

import json
from typing import Any

import django.db
import msgspec
from django.http import Http404
from django.utils.translation import gettext as _
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from durable_state.conversion.keys import key_text
from durable_state.feed import Sight
from durable_state.feed.rows import rows_by_key
from durable_state.feed.showing import shown_value
from durable_state.policy import sight_of

from .etags import answer_if_unchanged, entity_tag
from .examples import ENTITY
from .filters import chosen_fields, entity_order, filter_entities
from .pages import KeyPages
from .schema import describe
from .serializers import EntitySerializer
from .views import NAME, PolicyView

__all__ = ["EntityList"]

_QUERY = {
    "key": "only the entity of this key; the answer is then the entity itself, or 404",
    "ordering": "`key`, or a field by its wire name; `-` in front reverses it",
    "fields": "only these members of `value`, separated by commas",
}


class EntityList(PolicyView):
    """The entities of one type, as websockets show them."""

    serializer_class = EntitySerializer
    pagination_class = KeyPages

    @describe(
        path=NAME | {"entity_type": "the entity type on the wire"},
        query=_QUERY,
        responses={200: EntitySerializer(many=True), 304: None},
        examples=[ENTITY],
        operation_id="durable_state_entities_list",
    )
    def get(self, request: Request, name: str, entity_type: str) -> Any:
        """A page of entities, ordered by key; with `?key=`, only that entity.

        With django-filter, they can be filtered by field, under its wire name: `?done=true`,
        `?likes__gte=10`. The `ETag` names the stream's revision, unless the answer depends on
        something else.
        """
        # Before the rows: anything newer than the tag is read once more, so nothing is missed.
        stream = self.stream(name)
        sight = sight_of(self.user, stream, entity_type)
        if sight is None:
            # Not registered, or all its rows are hidden: the answer does not say which.
            raise Http404
        tag = entity_tag(request, stream, sight)
        answer: Any = answer_if_unchanged(request, tag)
        if answer is None:
            answer = self._answer(request, _chosen(request, sight))
        if tag is not None:
            answer.headers["ETag"] = tag
            answer.headers["Cache-Control"] = "private, no-cache"
        return answer

    def _answer(self, request: Request, sight: Sight) -> Response:
        if (key := request.query_params.get("key")) is not None:
            found = _entities(sight, [key])
            if not found:
                raise Http404
            return Response(found[0])

        # The page holds keys, so that a row which cannot be read costs only itself.
        self.page_order = entity_order(request, sight)
        rows = filter_entities(request, sight, sight.rows)
        try:
            page = self.paginate_queryset(rows) or []
        except (django.db.DataError, OverflowError) as error:
            raise ValidationError(
                {"detail": [_("A value in the query is beyond what its column holds.")]}
            ) from error
        column = sight.mapping.key.attname
        keys = [key_text(sight.mapping.key, each[column]) for each in page]
        return self.get_paginated_response(_entities(sight, keys))


def _chosen(request: Request, sight: Sight) -> Sight:
    """What the user may see, reduced to the fields that the query asks for."""
    mapping, seen = sight.mapping, sight.fields
    known = None
    if mapping.wire_names and not mapping.has_own_represent:
        known = [each for each in mapping.wire_names.values() if seen is None or each in seen]
    chosen = chosen_fields(request, known)
    if chosen is None:
        return sight
    return sight._replace(fields=chosen if seen is None else chosen & seen)


def _entities(sight: Sight, keys: list[str]) -> list[dict[str, Any]]:
    """The entities with these keys as plain JSON values, encoded exactly as in the feed; those that
    cannot be shown are left out.
    """
    mapping = sight.mapping
    found = rows_by_key(mapping, sight.rows, keys)
    values = {key: shown_value(mapping, found[key]) for key in keys if key in found}
    return [
        {"type": mapping.entity_type, "key": key, "value": _decoded(sight.only(value))}
        for key, value in values.items()
        if value is not None
    ]


def _decoded(value: bytes) -> Any:
    try:
        return msgspec.json.decode(value)
    except msgspec.DecodeError:  # a lone surrogate
        return json.loads(value)
