"""Deletes generations that are no longer needed, in bounded steps: deleting a million staged rows
by one statement would block everybody else.

Why: decision 23.
"""

from __future__ import annotations

from django.db import models

from durable_state.databases import find_database
from durable_state.models import Generation, StagedChange

__all__ = ["delete_rows", "drop_generation", "sweep_generations"]

STEP = 20_000
"""Staged entities that one transaction deletes at least; it deletes at most twice as many."""


def drop_generation(generation: Generation, rows: int | None = None) -> bool:
    """Deletes the generation; to be called in a transaction in which nothing points to it any more.

    A large one is only marked, for ``sweep_generations`` to delete it later; returns False then.
    """
    using = generation.using
    own = Generation.objects.using(using).filter(pk=generation.pk)
    if _step(generation, rows or STEP):
        own.update(purpose=Generation.Purpose.DROPPED, changes=0)
        return False
    # Not by Django's delete(), which would look for staged rows, and make MySQL lock others.
    own._raw_delete(using)
    return True


def sweep_generations(using: str, rows: int | None = None) -> bool:
    """Deletes ``rows``, or up to twice as many, that dropped generations still hold; to be called
    in a transaction of its own.

    Returns False once there are none.
    """
    generation = (
        Generation.objects.using(using)
        .filter(purpose=Generation.Purpose.DROPPED)
        .order_by("pk")
        .first()
    )
    if generation is not None:
        drop_generation(generation, rows)
    return generation is not None


def _step(generation: Generation, size: int) -> bool:
    """Deletes that many rows, or up to twice as many; whether there are more."""
    using = generation.using
    staged = generation.staged.using(using)
    room = size
    while (
        first := staged.order_by("type", "ordinal").values_list("type", flat=True).first()
    ) is not None:
        if room <= 0:
            return True
        of_type = staged.filter(type=first)
        end = of_type.order_by("ordinal").values_list("ordinal", flat=True)[size : size + 1].first()
        room -= delete_rows(of_type if end is None else of_type.filter(ordinal__lt=end))
    return False


def delete_rows(staged: models.QuerySet[StagedChange]) -> int:
    """Deletes staged rows without locking any others; returns how many there were."""
    database = find_database(staged.db)
    if database.holds_unique_without_gaps:
        return int(staged.order_by()._raw_delete(staged.db))
    pks = list(staged.values_list("pk", flat=True))
    database.remove(StagedChange._meta.db_table, "id", pks)
    return len(pks)
