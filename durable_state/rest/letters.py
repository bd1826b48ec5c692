"""Messages without a row: refused messages and parked changes."""

from __future__ import annotations

from typing import Any

from django.db import models
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request

from durable_state.models import DeadLetter, ParkedChange, Stream
from durable_state.policy import readable_values

from .etags import tagged
from .examples import LETTER, PARKED
from .filters import chosen_fields, filter_list, simple_order
from .pages import KeyPages
from .schema import describe
from .serializers import DeadLetterSerializer, ParkedChangeSerializer
from .views import NAME, PolicyView

__all__ = ["DeadLetterList", "ParkedChangeList"]

_QUERY = {
    "type": "only of this entity type",
    "reason": "only of this reason code",
    "ordering": "`id` or `-id`",
    "fields": "only these members, separated by commas",
}
_FILTERS = {
    "type": ["exact", "in"],
    "reason": ["exact", "in"],
    "ordinal": ["exact", "gt", "gte", "lt", "lte"],
}
"""The filters, none of which reveals a hidden value."""


class _WithoutRow(PolicyView):
    """The refused messages or the parked changes of one stream."""

    pagination_class = KeyPages
    serializer_class: Any
    permission: str

    def rows(self, stream: Stream) -> models.QuerySet[Any]:
        """Returns the messages of a stream."""
        raise NotImplementedError

    def listed(self, request: Request, name: str) -> Any:
        """Returns a page of messages, with values only if the user may read them."""
        stream = self.stream(name)
        if not self.user.has_perm(self.permission):
            raise PermissionDenied
        self.page_order = simple_order(request, "id", "id")
        fields = chosen_fields(request, self.serializer_class.Meta.fields)
        rows = self.rows(stream)
        page = self.paginate_queryset(filter_list(request, rows, _FILTERS)) or []
        by_pk = rows.select_related("stream").in_bulk([each["id"] for each in page])
        found = [by_pk[each["id"]] for each in page if each["id"] in by_pk]
        context = {
            **self.get_serializer_context(),
            "readable": readable_values(self.user, found),
        }
        shown = self.serializer_class(found, many=True, context=context).data
        if fields is not None:
            shown = [{name: each[name] for name in each if name in fields} for each in shown]
        return tagged(request, self.get_paginated_response(shown))


class DeadLetterList(_WithoutRow):
    """The refused messages of one stream."""

    serializer_class = DeadLetterSerializer
    permission = "durable_state.view_deadletter"

    def rows(self, stream: Stream) -> models.QuerySet[DeadLetter]:
        return DeadLetter.objects.using(stream.using).filter(
            stream=stream, generation=DeadLetter.SHOWN
        )

    @describe(
        path=NAME,
        query=_QUERY,
        responses={200: DeadLetterSerializer(many=True), 304: None},
        examples=[LETTER],
        operation_id="durable_state_dead_letters_list",
    )
    def get(self, request: Request, name: str) -> Any:
        """A page of dead letters. Also needs the permission `durable_state.view_deadletter`.

        Values are shown only for entities whose rows the user may see.
        """
        return self.listed(request, name)


class ParkedChangeList(_WithoutRow):
    """The changes of one stream that cannot be shown yet."""

    serializer_class = ParkedChangeSerializer
    permission = "durable_state.view_parkedchange"

    def rows(self, stream: Stream) -> models.QuerySet[ParkedChange]:
        return ParkedChange.objects.using(stream.using).filter(stream=stream)

    @describe(
        path=NAME,
        query=_QUERY,
        responses={200: ParkedChangeSerializer(many=True), 304: None},
        examples=[PARKED],
        operation_id="durable_state_parked_changes_list",
    )
    def get(self, request: Request, name: str) -> Any:
        """A page of parked changes. Also needs `durable_state.view_parkedchange`.

        Values are shown only for entities whose rows the user may see.
        """
        return self.listed(request, name)
