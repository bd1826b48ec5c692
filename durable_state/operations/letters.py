"""Retries and discards dead letters."""

from __future__ import annotations

from django.db import models, transaction

from durable_state.consumer import reapply
from durable_state.errors import OperationRefused
from durable_state.models import DeadLetter, Stream

from .intents import intended, record, ring

__all__ = ["discard", "discard_all", "retry", "retry_all"]


def retry(letter: DeadLetter, *, actor: str) -> bool:
    """Materializes the letter's message again, as it came; returns whether it was accepted.

    An accepted letter is deleted; a refused one stays, with its newest reason.
    Raises: OperationRefused, if a later change of the entity supersedes it.
    """
    stream = letter.stream
    with intended(stream, "retry", actor, _named(letter)) as verb:
        accepted = reapply(stream, letter)
        verb.detail(f"{_named(letter)}; {'accepted' if accepted else 'refused again'}")
    ring(stream)
    return accepted


def discard(letter: DeadLetter, *, actor: str) -> None:
    """Deletes the letter; its message stays in the stream and comes again with a reset."""
    with intended(letter.stream, "discard", actor, _named(letter)) as verb:
        DeadLetter.objects.using(verb.using).filter(pk=letter.pk).delete()


def retry_all(letters: models.QuerySet[DeadLetter], *, actor: str) -> tuple[int, int]:
    """Retries each letter, the oldest first; returns how many were accepted, and how many were not
    because they are refused again, or superseded.
    """
    accepted = refused = 0
    for letter in letters.select_related("stream").order_by("stream", "ordinal"):
        try:
            done = retry(letter, actor=actor)
        except OperationRefused:
            done = False
        accepted, refused = accepted + done, refused + (not done)
    return accepted, refused


def discard_all(letters: models.QuerySet[DeadLetter], *, actor: str) -> int:
    """Deletes the letters in one transaction, with one audit entry per stream; returns how many."""
    using = letters.db
    with transaction.atomic(using=using):
        found: dict[int, list[int]] = {}
        for pk, stream in letters.order_by().values_list("pk", "stream"):
            found.setdefault(stream, []).append(pk)
        names = dict(Stream.objects.using(using).filter(pk__in=found).values_list("pk", "name"))
        for stream, pks in found.items():
            record(using, names[stream], "discard", actor, f"{len(pks)} dead letters")
            DeadLetter.objects.using(using).filter(pk__in=pks).delete()
        return sum(map(len, found.values()))


def _named(letter: DeadLetter) -> str:
    """Names the letter without its key, because all who may see the stream read the audit trail."""
    return f"message {letter.ordinal} ({letter.type}): {letter.reason}"[:1000]
