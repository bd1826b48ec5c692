"""Who may read the example's streams."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet

from durable_state import StatePolicy
from durable_state.models import Stream

__all__ = ["EverybodyReads"]


class EverybodyReads(StatePolicy):
    """Lets every visitor read everything, signed in or not.

    Right for a demo on loopback whose rows are public anyway (a repository's history, a chat
    without accounts). The default policy asks for a signed-in user with the model's view
    permission; keep that, or narrow it, where rows are anybody's business.
    """

    def streams(self, user: Any) -> QuerySet[Stream]:
        return Stream.objects.all()

    def rows(self, user: Any, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset
