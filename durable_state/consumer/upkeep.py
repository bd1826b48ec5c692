"""What is deleted now and then, so that nothing grows for ever."""

from __future__ import annotations

from datetime import timedelta

from durable_state import feed
from durable_state.databases.clock import database_now
from durable_state.databases.transaction import commit_transaction
from durable_state.materializer import sweep_generations
from durable_state.models import Generation

from .samples import thin_samples

__all__ = ["sweep_dropped", "tidy"]

SWEEPS = 20
"""Steps in which one call of ``tidy`` deletes what is left of generations."""


def tidy(using: str) -> None:
    """Deletes feed entries and samples that are too old, and what dropped generations, and
    verifications that were killed, have left: a bounded part in one call.
    """
    feed.prune(using)
    thin_samples(using)

    day_ago = database_now(using) - timedelta(days=1)
    generations = Generation.objects.using(using)
    killed = generations.filter(purpose=Generation.Purpose.VERIFY, created_at__lt=day_ago)
    killed.update(purpose=Generation.Purpose.DROPPED, changes=0)

    for _ in range(SWEEPS):
        if not sweep_dropped(using):
            return


def sweep_dropped(using: str) -> bool:
    """Deletes some of what dropped generations still hold, in a transaction of its own.

    Whether there may be more.
    """
    with commit_transaction(using):
        return sweep_generations(using)
