"""Writes the rows of a mapping that is not registered, or whose model has changed."""

from __future__ import annotations

from typing import Any

from django.db import models

from durable_state import EntityMapping
from durable_state.conversion import converter
from durable_state.materializer import compiled
from durable_state.materializer.batch import plain
from durable_state.materializer.ownership import Ownership
from durable_state.materializer.plan import TypePlan
from durable_state.materializer.rows.claims import free_wanted_values
from durable_state.materializer.rows.row import RowWrite
from durable_state.materializer.rows.rows import changing, read_rows, write_rows
from durable_state.models import Stream

__all__ = ["forget_compiled", "plan_for", "put"]


def plan_for(using: str, model_: type[models.Model], key: str, *names: str) -> TypePlan:
    """The plan of a mapping of these fields."""

    class Mapping(EntityMapping):
        model = model_
        key_field = key
        fields = list(names)

    stream = Stream(name="s", pk=1)
    stream._state.db = using
    return TypePlan(Mapping("thing"), stream, Ownership(stream))


def put(plan: TypePlan, rows: dict[Any, dict[str, Any]]) -> list[str]:
    """Writes the rows that differ, by key, and returns the keys that the database refused."""
    found = read_rows(plan, list(rows))
    writes = [
        RowWrite(
            str(key), key, tuple(values[attname] for attname in plan.places), found.get(str(key))
        )
        for key, values in rows.items()
    ]
    failures = write_rows(
        plan,
        changing(plan, writes),
        free_values=lambda plan, writes: free_wanted_values(plan, writes, {}),
    )
    return [failure.write.key for failure in failures]


def forget_compiled() -> None:
    """Compiles all mappings anew, as in a process that starts after a model has changed."""
    for compile_once in (
        converter,
        plain._staged_shape,
        plain._wire_shape,
        compiled._compile_type,
        compiled._compile_stream,
    ):
        compile_once.cache_clear()
