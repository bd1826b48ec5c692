"""How the rows of a mapping that nobody has registered are written."""

from __future__ import annotations

from django.db import models

from durable_state import EntityMapping
from durable_state.materializer.ownership import Ownership
from durable_state.materializer.plan import TypePlan
from durable_state.models import Stream

__all__ = ["plan_for"]


def plan_for(using: str, model_: type[models.Model], key: str, *names: str) -> TypePlan:
    """The plan of a mapping of these fields."""

    class Mapping(EntityMapping):
        model = model_
        key_field = key
        fields = list(names)

    stream = Stream(name="s", pk=1)
    stream._state.db = using
    return TypePlan(Mapping("thing"), stream, Ownership(stream))
