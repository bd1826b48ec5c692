"""``changes_committed``, sent after the commit of the transaction that it reports."""

from __future__ import annotations

import logging
from collections import defaultdict

from django.db import models, transaction

from durable_state.materializer import Outcome
from durable_state.models import Stream
from durable_state.registry import registry
from durable_state.signals import changes_committed

__all__ = ["send_when_committed"]

logger = logging.getLogger("durable_state.consumer")

Keys = tuple[list[str], list[str]]
"""The keys of the rows that were written, and of those that were deleted."""


def send_when_committed(stream: Stream, revision: int, outcome: Outcome) -> None:
    """Sends the signal, once per model, after the open transaction is committed.

    If that is part of a larger one, of a verb or a TestCase, after the larger one.
    """
    if not changes_committed.receivers:
        return
    mappings = {each: registry.find(each, stream.name) for each in outcome.changed_types}
    senders = {mapping.model for mapping in mappings.values() if mapping is not None}
    if not senders:
        return

    by_model: defaultdict[type[models.Model], Keys] = defaultdict(lambda: ([], []))
    for (entity_type, key), deleted in outcome.changes.items():
        if (mapping := mappings[entity_type]) is not None:
            by_model[mapping.model][deleted].append(key)

    name, is_listed = stream.name, not outcome.too_many

    def send() -> None:
        for sender in senders:
            upserted, deleted = by_model[sender]
            responses = changes_committed.send_robust(
                sender=sender,
                stream=name,
                revision=revision,
                upserted=upserted if is_listed else None,
                deleted=deleted if is_listed else None,
            )
            for receiver, response in responses:
                if isinstance(response, Exception):
                    logger.error(
                        "%s: a receiver of changes_committed failed: %r",
                        name,
                        receiver,
                        exc_info=response,
                    )

    transaction.on_commit(send, using=stream.using)
