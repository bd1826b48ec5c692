"""A policy for which nobody has to sign in."""

from __future__ import annotations

from typing import Any

from django.db import models

from durable_state.models import Stream
from durable_state.policy import StatePolicy

__all__ = ["Everybody"]


class Everybody(StatePolicy):
    """Everybody sees everything."""

    def streams(self, user: Any) -> models.QuerySet[Stream]:
        """All."""
        return Stream.objects.all()

    def rows(self, user: Any, queryset: models.QuerySet[Any]) -> models.QuerySet[Any]:
        """All."""
        return queryset
